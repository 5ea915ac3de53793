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

from rich.console import Console

from batch_processor_client.progress import clock
from tools import local_aws
from tools.errors import CommandError, exit_code_of
from tools.outputs import deployment_of

LOG_LINES_SHOWN = 40
STOPPED = "Stopped the local AWS. `make up` starts it with everything that it had; `make clean` forgets that."


def deploy(console: Console) -> None:
    """Package and apply to the running local AWS. Raises CommandError with the end of the log if a step fails."""
    steps = (
        ("Packaging the functions", ["tools.package", "--env", "local"]),
        ("Applying the Terraform configuration", ["tools.terraform", "apply", "--env", "local", "--plan-anew"]),
    )
    log = local_aws.state_directory() / "deploy.log"
    with log.open("w") as output:
        for title, module in steps:
            begun = time.monotonic()
            with console.status(title):
                done = subprocess.run(
                    [sys.executable, "-m", *module],
                    cwd=local_aws.REPOSITORY,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            if done.returncode != 0:
                end = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
                raise CommandError(f"{title} failed:\n{end}\n\nThe whole log: {log}")
            console.print(f"  {title}: {clock(time.monotonic() - begun)}", highlight=False)


def up(console: Console, *, quiet: bool = False) -> None:
    """Start the local AWS, deploy to it and, unless ``quiet``, print how to reach it."""
    if local_aws.start(keep=True):
        console.print("  Started the local AWS", highlight=False)
    deploy(console)
    if quiet:
        return
    console.print(f"\nThe local AWS runs at [bold]{local_aws.endpoint_url()}[/bold]. To use it with the AWS CLI:\n")
    arn = deployment_of("local").batch_processor_state_machine_arn
    for name, value in {**local_aws.environment(), "STATE_MACHINE_ARN": arn}.items():
        console.print(f"  export {name}={value}", highlight=False)
    console.print(
        "\nNext: make run INPUT=examples/ticket-classification/batch.json CSV=examples/ticket-classification/input.csv"
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
