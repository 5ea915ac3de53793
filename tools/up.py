"""Start the local AWS and deploy to it; or, with --down, stop it.

    make up
    make down

It listens on 127.0.0.1, at LOCAL_AWS_PORT or 4566 (or another free port if that is in use), and keeps its files in
LOCAL_AWS_DIR or build/local-aws. A second `make up` deploys changes. `make down` keeps runs, targets, lake and jobs for
the next `make up`; `make clean` forgets them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

from rich.console import Console

from batch_processor_client.progress import clock
from tools import local_aws
from tools.errors import CommandError, exit_code_of
from tools.outputs import deployment_of

LOG_LINES_SHOWN = 40
STOPPED = "Stopped the local AWS. `make up` starts it with everything that it had; `make clean` forgets that."


def start_and_deploy(console: Console, *, keep: bool) -> None:
    """Start the local AWS unless it runs, package and apply.

    The functions are packaged while the local AWS starts. Raises CommandError with the end of the log if a step fails.
    """
    local_aws.state_directory().mkdir(parents=True, exist_ok=True)
    with (local_aws.state_directory() / "deploy.log").open("w") as log:
        begun = time.monotonic()
        packaging = module(log, "tools.package", "--env", "local")
        try:
            with console.status("Packaging the functions, starting the local AWS"):
                started = local_aws.start(keep=keep)
                finish(packaging, "Packaging the functions", log)
        finally:
            packaging.kill()
            packaging.wait()
        what = "Packaged the functions, started the local AWS" if started else "Packaged the functions"
        console.print(f"  {what}: {clock(time.monotonic() - begun)}", highlight=False)
        begun = time.monotonic()
        title = "Applying the Terraform configuration"
        with console.status(title):
            finish(module(log, "tools.terraform", "apply", "--env", "local", "--plan-anew"), title, log)
        console.print(f"  Applied the Terraform configuration: {clock(time.monotonic() - begun)}", highlight=False)


def module(log: TextIO, *command: str) -> subprocess.Popen[bytes]:
    """Start ``python -m command``, which writes into the log."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=local_aws.REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[bytes], title: str, log: TextIO) -> None:
    """Wait for the process. Raises CommandError with the end of the log if it fails."""
    if process.wait() != 0:
        path = Path(log.name)
        end = "\n".join(path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        raise CommandError(f"{title} failed:\n{end}\n\nThe whole log: {path}")


def up(console: Console, *, quiet: bool = False) -> None:
    """Start the local AWS, deploy to it and, unless ``quiet``, print how to reach it."""
    start_and_deploy(console, keep=True)
    if quiet:
        return
    console.print(f"\nThe local AWS runs at [bold]{local_aws.endpoint_url()}[/bold]. To use it with the AWS CLI:\n")
    arn = deployment_of("local").batch_processor_state_machine_arn
    for name, value in {**local_aws.environment(), "STATE_MACHINE_ARN": arn}.items():
        console.print(f"  export {name}={value}", highlight=False)
    console.print(
        "\nNext: make run CSV=examples/product-descriptions/input.csv TARGET=echo OUTPUT=out.csv"
        "\nWatch it in the browser: make console"
        "\nStop, and keep everything for the next `make up`: make down",
        highlight=False,
    )


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line; start or stop."""
    parser = argparse.ArgumentParser(
        prog="make up", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--down", action="store_true", help="stop the local AWS")
    parser.add_argument("--quiet", action="store_true", help="do not print how to reach it")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)

    def command() -> int:
        if options.down:
            running = local_aws.is_running()
            local_aws.stop()
            console.print(STOPPED if running else "No local AWS runs.")
        else:
            up(console, quiet=options.quiet)
        return 0

    return exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
