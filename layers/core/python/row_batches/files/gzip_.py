"""Unpacks files compressed with gzip (RFC 1952), which can have several members."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from foundation.errors import InvalidInputError, Problem

MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 1_048_576
"""The most bytes that are unpacked at once, because a few bytes can unpack to many."""


def unpacked(chunks: Iterable[bytes], *, path: str, max_bytes: int) -> Iterator[bytes]:
    """The content of a gzip file, in pieces of up to 1 MiB.

    Raises InvalidInputError if the file is damaged or cut off, and if the content exceeds ``max_bytes``, because a
    small file can unpack to any size. Zero bytes after the last member are padding.
    """
    size = 0
    for piece in _pieces(chunks, path):
        size += len(piece)
        if size > max_bytes:
            value = f"over {max_bytes:,} bytes unpacked"
            raise InvalidInputError([Problem(path, value, "the file in the gzip file is too large", "split it")])
        if piece:
            yield piece


def _pieces(chunks: Iterable[bytes], path: str) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if member.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    member = zlib.decompressobj(wbits=31)
                yield member.decompress(data, _PIECE_BYTES)
                data = member.unused_data if member.eof else member.unconsumed_tail
        # When a piece was full, text can be left in the window.
        while not member.eof and (piece := member.decompress(b"", _PIECE_BYTES)):
            yield piece
    except zlib.error as error:
        raise InvalidInputError([_damaged(path, str(error))]) from None
    if not member.eof:
        raise InvalidInputError([_damaged(path, "it ends in the middle")])


def _damaged(path: str, why: str) -> Problem:
    return Problem(path, "", f"the gzip file is damaged: {why}", "upload it again")
