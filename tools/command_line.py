"""Parsers for the command line, with error messages in terms of ``make``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from tools.errors import CommandError

ENVIRONMENTS = ("local", "stage", "prod")


def parser_of(command: str, description: str | None, environment: bool = True) -> argparse.ArgumentParser:
    """A parser for ``make <target>`` or a module; with ``environment``, it takes --env."""
    parser = argparse.ArgumentParser(
        prog=command, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if environment:
        parser.add_argument("--env", default="local", type=environment_name, help="local (the default), stage or prod")
    return parser


def environment_name(text: str) -> str:
    """One of ENVIRONMENTS. Raises CommandError."""
    if text not in ENVIRONMENTS:
        raise CommandError(f"ENV={text}: it is local, stage or prod.")
    return text


def readable_file(text: str) -> Path:
    """The path of a readable file. Raises CommandError before anything is sent to AWS."""
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except FileNotFoundError:
        raise CommandError(f"There is no file {path}.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None


def seconds(text: str) -> float:
    """A non-negative number of seconds. Raises CommandError."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise CommandError(f"GRACE={text}: it is a number of seconds, from 0.")
    return number
