"""The proofs of rows, in ``proof_rows.b64``: hashes of each row's input, its answer and its line of the output.

The file is Base64 without line ends. Each row has ``ROW_CHARACTERS`` characters, so that the aggregator only joins what
the workers wrote with their rows, and the proof of a row can be found without reading the others.
"""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

HASH_BYTES = 16
"""The first 128 bits of a SHA-256. With whole hashes, the file would have nearly twice the size."""
UNKNOWN = bytes(HASH_BYTES)
"""The place of a hash that is not known, because an earlier release wrote the row."""
SIZE_BYTES = 6
ROW_BYTES = 3 * HASH_BYTES + SIZE_BYTES
ROW_CHARACTERS = ROW_BYTES * 4 // 3
_PLACES = (0, HASH_BYTES, 2 * HASH_BYTES)


class RowProof(NamedTuple):
    """The hashes of a row, and the size in bytes of its line in the output, with the line end."""

    input: bytes
    answer: bytes
    output: bytes
    size: int


def row_proof(cells: Sequence[str], answer: bytes, line: str) -> str:
    """The proof of a row as Base64.

    ``answer`` is JSON, ``null`` if there is none. ``line`` is the row's line of the output.
    """
    return _encoded(input_hash(cells), short_hash(answer), line.encode())


def proof_of_line(line: str) -> str:
    """The proof of a row of which only the line of the output is known."""
    return _encoded(UNKNOWN, UNKNOWN, line.encode())


def _encoded(row_input: bytes, answer: bytes, line: bytes) -> str:
    proof = row_input + answer + short_hash(line) + len(line).to_bytes(SIZE_BYTES)
    return b2a_base64(proof, newline=False).decode()


def input_hash(cells: Sequence[str]) -> bytes:
    """The hash of a row as it was read: of its cells as a JSON array of texts."""
    return short_hash(orjson.dumps(list(cells)))


def short_hash(content: bytes) -> bytes:
    """The first ``HASH_BYTES`` bytes of the SHA-256."""
    return hashlib.sha256(content).digest()[:HASH_BYTES]


def read_proofs(text: bytes) -> Iterator[RowProof]:
    """The proofs of some rows. Raises ValueError for something else."""
    proofs = a2b_base64(text, strict_mode=True)
    if len(proofs) % ROW_BYTES:
        raise ValueError("the last proof is cut off")
    for at in range(0, len(proofs), ROW_BYTES):
        row_input, answer, output = (proofs[at + place : at + place + HASH_BYTES] for place in _PLACES)
        yield RowProof(row_input, answer, output, int.from_bytes(proofs[at + 3 * HASH_BYTES : at + ROW_BYTES]))
