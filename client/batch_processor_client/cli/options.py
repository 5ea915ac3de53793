"""The shared parts of all commands: the deployment, the consoles, ``--json``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console

from batch_processor_client.deployment import Deployment
from batch_processor_client.errors import ClientError
from batch_processor_client.files import readable_file, writable_file

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
AlwaysJson = Annotated[bool, typer.Option("--json", help="Changes nothing: the result is always printed as JSON.")]


def named(text: str) -> str:
    """The name or ARN of an execution. Raises ClientError if it is empty, as it is without EXECUTION=."""
    if not text:
        raise ClientError("Name the execution: EXECUTION=<name>.")
    return text


Execution = Annotated[str, typer.Argument(parser=named, metavar="EXECUTION", help="Name or ARN of the execution.")]


@dataclass(frozen=True)
class Chosen:
    """The deployment that the command line names. It is looked up only when a command needs it."""

    environment: str
    outputs: Path | None

    def deployment(self) -> Deployment:
        """Raises ClientError when there is none."""
        return Deployment.find(self.environment, self.outputs)


def deployment_of(context: typer.Context) -> Deployment:
    """The deployment that the command line names. Raises ClientError when there is none."""
    chosen: Chosen = context.obj
    return chosen.deployment()


def input_file(help_text: str, *names: str) -> object:
    """An option that names a readable file."""
    return typer.Option(*names, parser=readable_file, metavar="FILE", help=help_text)


def output_file(help_text: str, *names: str) -> object:
    """An option that names a file to write."""
    return typer.Option(*names, parser=writable_file, metavar="FILE", help=help_text)


def has_terminal() -> bool:
    """Whether a person can be asked."""
    return out.is_terminal and sys.stdin.isatty()


def show(text: str, console: Console = out) -> None:
    """Print a line as it is: no markup, no colours, not wrapped, so that addresses can be copied."""
    console.print(text, markup=False, highlight=False)


def console_of(*, as_json: bool) -> Console:
    """The console for progress: standard error with --json, so that standard output has only the result."""
    return err if as_json else out


def show_json(result: BaseModel | dict[str, Any] | list[Any]) -> None:
    """Print a result as JSON."""
    out.print_json(result.model_dump_json(by_alias=True) if isinstance(result, BaseModel) else json.dumps(result))
