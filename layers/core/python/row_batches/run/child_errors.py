"""Why child workflows died, from the files of the map's ResultWriter.

Layout and shapes: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html. A failed child's
record has its input as a JSON text, and ``Error`` and ``Cause``, never an output.
"""

from __future__ import annotations

import codecs
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from foundation.errors import DeploymentError, ObjectNotFoundError
from foundation.ports import ObjectStore

MOST_CAUSE_CHARACTERS = 1000


def read_child_errors(objects: ObjectStore, manifests: list[str], gaps: Iterable[tuple[int, int]]) -> dict[int, str]:
    """What to say about each row in ``gaps`` (first and last row, ascending) whose child failed.

    Of several manifests the last stands. A child that ended with ``DeploymentError`` says nothing about its rows: they
    were not attempted. Memory: one record (its input is at most 256 KiB), some 100 bytes for each gap and row found.
    """
    firsts: list[int] = []
    lasts: list[int] = []
    found: dict[int, str] = {}
    for first, last in gaps if manifests else ():
        firsts.append(first)
        lasts.append(last)
    for manifest in manifests:
        try:
            files = orjson.loads(objects.get(manifest)).get("ResultFiles", {}).get("FAILED", [])
        except ObjectNotFoundError:
            continue
        for file in files:
            for record in json_records(objects.read(file["Key"])):
                if record.get("Error") == DeploymentError.__name__:
                    continue
                message = _message(record)
                for row in _rows_of(record):
                    gap = bisect_right(firsts, row) - 1
                    if gap >= 0 and row <= lasts[gap]:
                        found[row] = message
    return found


def _message(record: dict[str, Any]) -> str:
    error = record.get("Error") or record.get("Status") or "States.TaskFailed"
    cause = str(record.get("Cause") or "")
    try:
        described = orjson.loads(cause)
    except orjson.JSONDecodeError:
        described = None
    if isinstance(described, dict) and "errorMessage" in described:
        cause = str(described["errorMessage"])
    return f"the child workflow died: {error}: {cause[:MOST_CAUSE_CHARACTERS]}".removesuffix(": ")


def _rows_of(record: dict[str, Any]) -> Iterator[int]:
    if not record.get("Input"):
        return
    child_input = orjson.loads(record["Input"])
    items = child_input.get("Items") or [child_input.get("Row") or {}]
    for item in items:
        if "r" in item:
            yield int(item["r"])


def json_records(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array or of JSON lines, one by one, from chunks of any size.

    A record that is not complete yet is tried again with the next chunk.
    """
    decoder = json.JSONDecoder()
    utf8 = codecs.getincrementaldecoder("utf-8")()
    text = ""
    for chunk in chunks:
        text += utf8.decode(chunk)
        position = 0
        while (start := text.find("{", position)) >= 0:
            try:
                record, position = decoder.raw_decode(text, start)
            except json.JSONDecodeError:
                position = start
                break
            yield record
        text = text[position:]
