"""Stop an execution and keep its finished rows.

    make stop ENV=local EXECUTION=my-run [GRACE=900]

The command pulls the brake: no worker starts another row, rows in flight finish, and the execution writes its output
and ends. If it has not ended after the grace period, the command stops it, and its finished rows become the output.
GRACE=0 stops it at once.
"""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from row_batches.document.plan import Keys
from tools.command_line import parser_of, seconds
from tools.errors import CommandError, exit_code_of
from tools.executions import Ending, describe, ending_of
from tools.outputs import Deployment

GRACE_SECONDS = 900.0
"""No row of a tool takes longer than 14 minutes. An agent that takes longer loses its current row."""
OUTPUT_SECONDS = 180.0
"""How long to wait for the output after StopExecution."""
POLL_SECONDS = 1.0


class Stopper:
    """Stops one execution. It calls ``wait`` between polls."""

    def __init__(self, deployment: Deployment, execution_arn: str, wait: Callable[[float], None] = time.sleep) -> None:
        self._states = deployment.client("stepfunctions")
        self._storage = deployment.client("s3")
        self._bucket = deployment.results_bucket
        self._arn = execution_arn
        self._keys = Keys(execution_arn.rsplit(":", 1)[1])
        self._wait = wait

    @property
    def output_uri(self) -> str:
        """The address of the output, whether it exists yet or not."""
        return f"s3://{self._bucket}/{self._keys.output}"

    def ending(self) -> Ending | None:
        """The end of the execution; None while it runs. Raises CommandError if there is no such execution."""
        return ending_of(describe(self._states, self._arn))

    def pull_brake(self, reason: str) -> None:
        """Write the marker that workers read before they start a row. An existing one stays unchanged."""
        brake = {"reason": reason, "error": "StoppedError", "message": reason}
        try:
            self._storage.put_object(
                Bucket=self._bucket, Key=self._keys.brake, Body=json.dumps(brake).encode(), IfNoneMatch="*"
            )
        except ClientError as refused:
            if refused.response["Error"]["Code"] not in ("PreconditionFailed", "412"):
                raise

    def await_ending(self, seconds: float) -> Ending | None:
        """Wait until the execution has ended; None if it still runs after so many seconds."""
        for _ in range(int(seconds / POLL_SECONDS)):
            ending = self.ending()
            if ending is not None:
                return ending
            self._wait(POLL_SECONDS)
        return self.ending()

    def stop(self, reason: str) -> None:
        """Stop the execution immediately."""
        self._states.stop_execution(executionArn=self._arn, error="StoppedError", cause=reason)

    def await_output(self, seconds: float) -> str | None:
        """Wait for the output of a stopped run; its S3 address, or None if it is not written in time."""
        for attempt in range(int(seconds / POLL_SECONDS) + 1):
            if attempt:
                self._wait(POLL_SECONDS)
            try:
                self._storage.head_object(Bucket=self._bucket, Key=self._keys.summary)
            except ClientError as refused:
                if refused.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
                    raise
            else:
                return self.output_uri
        return None


def stop_execution(stopper: Stopper, reason: str, grace: float, tell: Callable[[str], Any]) -> int:
    """Pull the brake, wait, then stop the execution if it still runs. Exit code 0 if there is an output at the end."""
    already = stopper.ending()
    if already is not None:
        tell(f"It has ended already: {already.status}.")
        return show(already, tell)
    stopper.pull_brake(reason)
    if grace > 0:
        tell(f"No new row is started. Waiting up to {grace:.0f} s for the rows in flight and the output.")
        ending = stopper.await_ending(grace)
        if ending is not None:
            return show(ending, tell)
        tell(f"It still runs after {grace:.0f} s: stopping it now.")
    stopper.stop(reason)
    tell("Stopped. Waiting for the output of the rows that were finished.")
    output = stopper.await_output(OUTPUT_SECONDS)
    if output is None:
        tell(f"No output yet. It is written when the rows in flight are over: {stopper.output_uri}")
        return 1
    tell(f"Output: {output}")
    return 0


def show(ending: Ending, tell: Callable[[str], Any]) -> int:
    """Print the result of the execution."""
    document = ending.document or {}
    if not document.get("output_s3_uri"):
        tell(ending.cause or "It left no output.")
        return 1
    names = ("succeeded", "failed", "timed_out", "not_attempted")
    counts = (f"{document.get(name, 0):,} {name.replace('_', ' ')}" for name in names)
    tell(f"{ending.status}: {', '.join(counts)} of {document.get('total_rows', 0):,} rows.")
    tell(f"Output: {document['output_s3_uri']}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, stop the execution."""
    parser = parser_of("make stop", __doc__)
    parser.add_argument("--execution", help="name or ARN of the execution (EXECUTION=)")
    parser.add_argument("--grace", type=seconds, default=GRACE_SECONDS, help="seconds to end by itself (GRACE=)")
    parser.add_argument("--now", action="store_true", help="the same as --grace 0")

    def command() -> int:
        options = parser.parse_args(arguments)
        if not options.execution:
            raise CommandError("Name the execution: make stop EXECUTION=<name>.")
        deployment = Deployment.of(options.env)
        stopper = Stopper(deployment, deployment.execution_arn(options.execution))
        reason = f"stopped by {getpass.getuser()}"
        return stop_execution(stopper, reason, 0.0 if options.now else options.grace, print)

    return exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
