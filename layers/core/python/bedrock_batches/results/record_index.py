"""The records of a part: the violation and agency at each place, and which of them are answered.

The file beside a part's input has one line a record, ``<violation_id>\\t<agency>``. A hundred thousand of them take
about 4 MB here, where a dict would take five times as much: the file's own bytes, a table of line numbers, no objects.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """``place`` counts from 0, over all files of the index."""

    place: int
    violation_id: str
    agency: str


class RecordIndex:
    """Finds records by id, in a table with open addressing that is never more than half full."""

    def __init__(self, files: list[bytes]) -> None:
        self._text = b"\n".join(files)
        self._begins = array("I", _line_begins(self._text))
        slots = 1 << (2 * len(self._begins) + 1).bit_length()
        self._mask = slots - 1
        self._slots = array("I", bytes(4 * slots))
        for place, begin in enumerate(self._begins):
            slot = self._slot(self._text[begin : self._text.index(b"\t", begin)])
            if self._slots[slot] == 0:
                self._slots[slot] = place + 1

    def __len__(self) -> int:
        return len(self._begins)

    def __iter__(self) -> Iterator[IndexedRecord]:
        return (self._record(place) for place in range(len(self)))

    def find(self, violation_id: str) -> IndexedRecord | None:
        place = self._slots[self._slot(violation_id.encode())]
        return self._record(place - 1) if place else None

    def at(self, place: int) -> IndexedRecord | None:
        return self._record(place) if 0 <= place < len(self) else None

    def _slot(self, violation_id: bytes) -> int:
        """The slot of the id in the table, or the free slot for it."""
        slot = hash(violation_id) & self._mask
        wanted = violation_id + b"\t"
        while (place := self._slots[slot]) and not self._text.startswith(wanted, self._begins[place - 1]):
            slot = (slot + 1) & self._mask
        return slot

    def _record(self, place: int) -> IndexedRecord:
        begin = self._begins[place]
        end = self._text.find(b"\n", begin)
        violation_id, agency = self._text[begin : end if end >= 0 else None].split(b"\t", 1)
        return IndexedRecord(place, violation_id.decode(), agency.decode())


class Answered:
    """The records of an index that have been seen, one bit each."""

    def __init__(self, bits: bytes = b"") -> None:
        self._bits = bytearray(bits)

    def __contains__(self, place: int) -> bool:
        byte = place >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & (1 << (place & 7)))

    def add(self, place: int) -> None:
        byte = place >> 3
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits)))
        self._bits[byte] |= 1 << (place & 7)

    def __bytes__(self) -> bytes:
        return bytes(self._bits)


def _line_begins(text: bytes) -> Iterator[int]:
    """The offsets of the lines that have an id and a tab."""
    begin = 0
    while begin < len(text):
        end = text.find(b"\n", begin)
        end = len(text) if end < 0 else end
        if text.find(b"\t", begin, end) > begin:
            yield begin
        begin = end + 1
