"""Reads the rows objects of an execution in row order, several at once, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from batch_processor.app.ports import ObjectStore, StoredObject
from batch_processor.domain.plan import Keys

READERS = 24
"""Requests at once: agents have one object a row, each some 20 ms away."""
MOST_OBJECTS_AHEAD = 32
MOST_BYTES_AHEAD = 32 * 1024 * 1024
_ANSWER = b',"answer":'


@dataclass(frozen=True, slots=True)
class RowsObject:
    """The finished rows ``first`` to ``last``; ``body`` has one JSON line each."""

    key: str
    first: int
    last: int
    body: bytes

    def records_from(self, row: int) -> list[dict[str, Any]]:
        """The records (``domain.records.RowRecord``) of ``row`` and those after it, without their answers.

        The answer is the last key of a line and the text before it is never parsed twice: a quote inside a JSON string
        is escaped, so the first ``,"answer":`` is that key and not part of a cell.
        """
        lines = self.body.split(b"\n", self.last - self.first + 1)
        heads = [line[: line.find(_ANSWER)] for line in lines[max(0, row - self.first) : -1]]
        if not heads:
            return []
        records: list[dict[str, Any]] = orjson.loads(b"[%b}]" % b"},".join(heads))
        return records


def read_rows_objects(
    objects: ObjectStore, keys: Keys, next_row: int, start_after: str = ""
) -> Generator[RowsObject, None, None]:
    """The rows objects after the key ``start_after`` that hold any row from ``next_row`` on, in row order.

    Objects that overlap (a worker that was thought dead wrote, too) are given as they are, but for those whose rows all
    are in an earlier one. Memory: ``MOST_BYTES_AHEAD`` and one object.
    """
    listing = _useful(objects.list_objects(keys.rows, start_after), keys, next_row)
    ahead: deque[tuple[StoredObject, Future[bytes]]] = deque()
    bytes_ahead = 0
    following = next(listing, None)
    with ThreadPoolExecutor(READERS, "rows-reader") as pool:
        try:
            while ahead or following is not None:
                while following is not None and (
                    not ahead or (len(ahead) < MOST_OBJECTS_AHEAD and bytes_ahead + following.size <= MOST_BYTES_AHEAD)
                ):
                    ahead.append((following, pool.submit(objects.get, following.key)))
                    bytes_ahead += following.size
                    following = next(listing, None)
                stored, future = ahead.popleft()
                first, last = keys.rows_range(stored.key)
                yield RowsObject(stored.key, first, last, future.result())
                bytes_ahead -= stored.size
                del future
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _useful(listing: Iterator[StoredObject], keys: Keys, next_row: int) -> Iterator[StoredObject]:
    for stored in listing:
        last = keys.rows_range(stored.key)[1]
        if last >= next_row:
            next_row = last + 1
            yield stored


def find_gaps(ranges: Iterator[tuple[int, int]], total_rows: int) -> Iterator[tuple[int, int]]:
    """First and last row of each run of rows that no range has, in order. ``ranges`` ascend, and may overlap."""
    expected = 1
    for first, last in ranges:
        if first > expected:
            yield expected, first - 1
        expected = max(expected, last + 1)
    if expected <= total_rows:
        yield expected, total_rows
