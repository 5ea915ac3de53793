"""Reads from the map's ResultWriter files why child workflows died.

Layout and shapes: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html. A failed child's
record has ``Error``, ``Cause`` and its input as JSON text. It never has an output.
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
    """The message for each row in ``gaps`` (first and last row, ascending) whose child failed.

    If several manifests name a row, the last one counts. A child that ended with ``DeploymentError`` gives no message,
    because its rows were not started. Memory: one record (its input is up to 256 KiB), and some 100 bytes for each
    gap and each row found.
    """
    firsts: list[int] = []
    lasts: list[int] = []
    found: dict[int, str] = {}
    for first, last in gaps if manifests else ():
        firsts.append(first)
        lasts.append(last)
    for record in _failed_children(objects, manifests):
        if record.get("Error") == DeploymentError.__name__:
            continue
        message = _message(record)
        for row in _rows_of(record):
            gap = bisect_right(firsts, row) - 1
            if gap >= 0 and row <= lasts[gap]:
                found[row] = message
    return found


def _failed_children(objects: ObjectStore, manifests: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The records of the failed children of all maps. A map that wrote no manifest has none."""
    for manifest in manifests:
        try:
            files = orjson.loads(objects.get(manifest)).get("ResultFiles", {}).get("FAILED", [])
        except ObjectNotFoundError:
            continue
        for file in files:
            yield from json_records(objects.read(file["Key"]))


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
    """The objects of a JSON array or of JSON Lines, one by one, from chunks of any size.

    An incomplete record is parsed again with the next chunk.
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
