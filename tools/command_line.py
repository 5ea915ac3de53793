"""Parsers for the command line, with error messages in terms of ``make``."""

from __future__ import annotations

import argparse

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
