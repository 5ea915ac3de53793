"""Read the kept answers of a job again, and keep what the reader of today finds in them. It costs nothing at Bedrock.

    make reparse ENV=local JOB=batch-… [YES=1]

Says first how many answers of records without content can be read now. Then it asks on a terminal whether to store
their content; YES=1 stores it without asking. Without a terminal and without YES=1 nothing is stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from botocore.config import Config

from bedrock_batches.results.messages import Reparse, ReparseJob
from tools.command_line import parser_of
from tools.errors import CommandError, exit_code_of
from tools.outputs import Deployment

FUNCTION_SECONDS = 300

Read = Callable[[bool], dict[str, Any]]
"""Reads the answers of the job again; a dry run when True. The answer is ``Reparsed.document``."""


def reader_of(functions: Any, function: str, job_id: str) -> Read:
    """Calls the function. Raises CommandError with its reason when it fails."""

    def read(dry_run: bool) -> dict[str, Any]:
        message = ReparseJob(reparse=Reparse(job_id=job_id, dry_run=dry_run))
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(message.payload()).encode())
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise CommandError(f"{function} failed: {document.get('errorType')}: {document.get('errorMessage')}")
        return document

    return read


def reparse(read: Read, tell: Callable[[str], Any], confirmed: Callable[[], bool]) -> int:
    """Dry run, question, run."""
    found = read(True)
    more = "" if found["complete"] else " There are more: the function had no time for all objects."
    tell(f"{found['read']:,} of {found['answers']:,} would now be read, {found['costUSD']:.2f} USD.{more}")
    if not found["read"]:
        return 0
    if not confirmed():
        tell("Nothing was stored. To store the content: YES=1.")
        return 0
    stored = 0
    while True:
        done = read(False)
        stored += done["read"]
        if done["complete"] or not done["read"]:
            break
    tell(f"{stored:,} records have content now. Their content reaches the lake as any other.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, read again."""
    parser = parser_of("make reparse", __doc__)
    parser.add_argument("--job", required=True, help="id of the job (JOB=)")
    parser.add_argument("--yes", default="", choices=["", "1"], help="store without asking (YES=1)")

    def command() -> int:
        options = parser.parse_args(arguments)
        deployment = Deployment.of(options.env)
        function = str(deployment.bedrock_output("bedrock_function_names")["bedrock_batch_result"])
        # One try: a second one would start while the function still works.
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
