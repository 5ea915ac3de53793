"""Read the stored answers of a job again with the current parser, and store the content that it finds. Costs nothing.

    make reparse ENV=local JOB=batch-… [YES=1]

The command first says how many answers of records without content can be read now. On a terminal, it then asks whether
to store their content; YES=1 stores it without asking. Without a terminal and without YES=1, nothing is stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from botocore.config import Config

from bedrock_batches.results.messages import Reparse, ReparseJob
from tools.command_line import parser_of
from tools.errors import CommandError, exit_code_of
from tools.outputs import Deployment

FUNCTION_SECONDS = 300

Read = Callable[[bool, str], dict[str, Any]]
"""Reads the job's answers after an object again; True means a dry run. Returns ``Reparsed.document``."""


def reader_of(functions: Any, function: str, job_id: str) -> Read:
    """A ``Read`` that calls the function. It raises CommandError with the reason if the function fails."""

    def read(dry_run: bool, after: str) -> dict[str, Any]:
        message = ReparseJob(reparse=Reparse(job_id=job_id, dry_run=dry_run, after=after))
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(message.payload()).encode())
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise CommandError(f"{function} failed: {document.get('errorType')}: {document.get('errorMessage')}")
        return document

    return read


def reparse(read: Read, tell: Callable[[str], Any], confirmed: Callable[[], bool]) -> int:
    """Do a dry run, ask, and store the content."""
    found = list(_calls(read, dry_run=True))
    readable, answers = (sum(each[name] for each in found) for name in ("read", "answers"))
    tell(f"{readable:,} of {answers:,} would now be read, {sum(each['costUSD'] for each in found):.2f} USD.")
    if not readable:
        return 0
    if not confirmed():
        tell("Nothing was stored. To store the content: YES=1.")
        return 0
    stored = sum(each["read"] for each in _calls(read, dry_run=False))
    tell(f"{stored:,} records have content now. Their content reaches the lake as any other.")
    return 0


def _calls(read: Read, *, dry_run: bool) -> Iterator[dict[str, Any]]:
    """Call the function until it has read all objects of the job; yields the response of each call."""
    after = ""
    while True:
        done = read(dry_run, after)
        yield done
        if done["complete"]:
            return
        if done["last"] == after or not done["last"]:
            raise CommandError("The function had no time for a single object. Try again later.")
        after = done["last"]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, read again."""
    parser = parser_of("make reparse", __doc__)
    parser.add_argument("--job", required=True, help="id of the job (JOB=)")
    parser.add_argument("--yes", default="", choices=["", "1"], help="store without asking (YES=1)")

    def command() -> int:
        options = parser.parse_args(arguments)
        deployment = Deployment.of(options.env)
        function = str(deployment.bedrock_output("bedrock_function_names")["bedrock_batch_result"])
        # No retries: a second call would start while the function still runs.
        patient = Config(read_timeout=FUNCTION_SECONDS + 30, retries={"total_max_attempts": 1})
        read = reader_of(deployment.client("lambda", config=patient), function, options.job)

        def confirmed() -> bool:
            return options.yes == "1" or (
                sys.stdin.isatty() and input("Store their content? [y/N] ").strip().lower() == "y"
            )

        return reparse(read, print, confirmed)

    return exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
