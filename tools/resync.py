"""Merge content into the lake that could not be merged before.

    make resync ENV=local [FILE=1-9.jsonl]

A schedule merges the objects under sync-failed/ every 15 minutes. This command does it at once, and prints the outcome.

It calls the function bedrock_sync for each object under bedrock-batches/sync-failed/ of the data bucket, or for the one
in FILE: its key, or the end of it. The function deletes the object when all its content is in the lake; otherwise it
keeps the lines that failed again, with the reason. Without FILE, the command then compares all content in
VentureOS-Violations with the lake, some thousand items a call, and merges what the lake lacks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from botocore.config import Config

from bedrock_batches.sync.failed_items import FAILED_PREFIX
from foundation.functions import function_sizes
from tools.command_line import parser_of
from tools.errors import CommandError, exit_code_of
from tools.outputs import Deployment

MOST_REASONS = 5


class Resync:
    """The objects that wait to be merged, and the function that merges them."""

    def __init__(self, storage: Any, functions: Any, bucket: str, function: str) -> None:
        self._storage = storage
        self._functions = functions
        self._bucket = bucket
        self._function = function

    def waiting(self) -> Iterator[str]:
        """Keys of the objects, oldest day first."""
        for page in self._storage.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=FAILED_PREFIX):
            for entry in page.get("Contents", []):
                yield entry["Key"]

    def replay(self, key: str) -> dict[str, Any]:
        """Merge one object. Returns the function's response (``SyncResult.document``), or ``{"error": …}``."""
        return self._call({"replay": key})

    def compare(self, cursor: str) -> dict[str, Any]:
        """Merge a page of the table. Returns the same as ``replay``, with the next ``cursor`` and ``reasons``."""
        return self._call({"compare": cursor})

    def _call(self, event: dict[str, str]) -> dict[str, Any]:
        answer = self._functions.invoke(FunctionName=self._function, Payload=json.dumps(event).encode())
        document: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            return {"error": f"{document.get('errorType')}: {document.get('errorMessage')}"}
        return document

    def reasons(self, key: str) -> list[str]:
        """Why items of the object failed, each reason once."""
        lines = self._storage.get_object(Bucket=self._bucket, Key=key)["Body"].read().splitlines()
        return sorted({str(json.loads(line)["reason"]) for line in lines if line})


def resync(waiting: Resync, tell: Callable[[str], Any], only: str = "") -> int:
    """Merge the objects with a key that ends in ``only``. Exit code 1 if something could not be merged."""
    keys = [key for key in waiting.waiting() if key.endswith(only)]
    if not keys and only:
        raise CommandError(f"No object under {FAILED_PREFIX} has a key that ends in {only}. List the objects there.")
    failing = 0
    for key in keys:
        answer = waiting.replay(key)
        if "error" in answer:
            failing += 1
            tell(f"{key}: the function failed: {answer['error']}")
            continue
        tell(f"{key}: {answer['updated']:,} merged, {answer['unchanged']:,} were there, {answer['failed']:,} failed")
        if answer["failed"]:
            failing += 1
            for reason in waiting.reasons(key)[:MOST_REASONS]:
                tell(f"    {reason}")
    if not only:
        failing += compare(waiting, tell)
    return 1 if failing else 0


def compare(waiting: Resync, tell: Callable[[str], Any]) -> int:
    """Compare all content with the lake; returns the number of items that are still not in the lake."""
    compared = merged = failed = uncounted = 0
    reasons: set[str] = set()
    cursor = ""
    while True:
        answer = waiting.compare(cursor)
        if "error" in answer:
            tell(f"Content was not compared with the lake to the end: the function failed: {answer['error']}")
            return 1
        updated, unchanged, kept_out = (int(answer[name]) for name in ("updated", "unchanged", "failed"))
        compared += int(answer["items"])
        uncounted += int(answer["items"]) - updated - unchanged - kept_out - int(answer["ignored"])
        merged += updated
        failed += kept_out
        reasons |= set(answer["reasons"])
        cursor = answer["cursor"]
        if not cursor:
            break
    tell(f"{compared:,} items of content compared with the lake: {merged:,} merged, {failed:,} failed")
    for reason in sorted(reasons)[:MOST_REASONS]:
        tell(f"    {reason}")
    if uncounted:
        tell(f"{uncounted:,} items have no outcome: run `make resync` again, then see the log of bedrock_sync.")
    if not failed and not uncounted:
        tell("The lake has all content.")
    return failed + uncounted


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, replay."""
    parser = parser_of("make resync", __doc__)

    parser.add_argument("--file", default="", help="key of one object, or its end (FILE=)")

    def command() -> int:
        options = parser.parse_args(arguments)
        deployment = Deployment.of(options.env)
        bucket = str(deployment.bedrock_output("data_bucket"))
        function = str(deployment.bedrock_output("bedrock_function_names")["bedrock_sync"])
        # No retries: a second call would start while the function still runs.
        seconds = function_sizes("bedrock_batches")["bedrock_sync"].timeout_seconds
        patient = Config(read_timeout=seconds + 30, retries={"total_max_attempts": 1})
        functions = deployment.client("lambda", config=patient)
        return resync(Resync(deployment.client("s3"), functions, bucket, function), print, options.file)

    return exit_code_of(command)


if __name__ == "__main__":
    sys.exit(main())
