"""Unpacks compressed files. To add a compression, list it in ``COMPRESSIONS``; each works with every format.

Both kinds can have several parts, one after the other, as written by ``cat`` or by programs that use several threads.
Memory: a window of the file, up to 128 MiB for zstd, and a piece of ``_PIECE_BYTES``.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from foundation.errors import InvalidInputError, Problem
from row_batches.files.table import PATH, refuse

_PIECE_BYTES = 1_048_576
"""The most bytes that are unpacked at once, because a few bytes can unpack to many."""
_ZSTD_WINDOW_LOG = 27
"""2^27 bytes, 128 MiB: what zstd itself accepts unless it is told otherwise."""


class _DamagedError(Exception):
    """Raised when data cannot be unpacked. The message says why."""


class _Part(Protocol):
    """One compressed part: a member of gzip or a frame of zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def rest(self) -> bytes:
        """The data that was fed and that comes after this part."""

    def fed(self, data: bytes) -> Iterator[bytes]:
        """Unpack more data of this part, in pieces."""


class _GzipMember:
    """A member of a gzip file (RFC 1952)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def rest(self) -> bytes:
        return self._member.unused_data

    def fed(self, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                piece = self._member.decompress(data, _PIECE_BYTES)
                yield piece
                data = self._member.unconsumed_tail
                # When a piece was full, text can be left in the window.
                if self._member.eof or not (data or len(piece) == _PIECE_BYTES):
                    return
        except zlib.error as error:
            raise _DamagedError(str(error)) from None


class _ZstdFrame:
    """A frame of a zstd file (RFC 8878)."""

    def __init__(self) -> None:
        zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        self._error = zstd.ZstdError
        limit = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._frame = zstd.ZstdDecompressor(options=limit)

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def rest(self) -> bytes:
        return bytes(self._frame.unused_data)

    def fed(self, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                yield self._frame.decompress(data, _PIECE_BYTES)
                data = b""
                if self._frame.eof or self._frame.needs_input:
                    return
        except self._error as error:
            if "memory" in str(error):
                raise _DamagedError(
                    f"its window is over {2**_ZSTD_WINDOW_LOG:,} bytes; use --long=27 or less"
                ) from None
            raise _DamagedError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Compression:
    """A compression. ``mark`` is a pattern of the first bytes of such a file."""

    name: str
    mark: bytes
    part: Callable[[], _Part]

    def is_it(self, head: bytes) -> bool:
        return re.match(self.mark, head, re.DOTALL) is not None

    def unpacked(self, chunks: Iterable[bytes], *, max_bytes: int) -> Iterator[bytes]:
        """The content of a compressed file, in pieces of up to 1 MiB.

        Raises InvalidInputError if the file is damaged or cut off, and if the content exceeds ``max_bytes``, because a
        small file can unpack to any size. Zero bytes after the last part are padding.
        """
        size = 0
        try:
            for piece in self._pieces(chunks):
                size += len(piece)
                if size > max_bytes:
                    value = f"over {max_bytes:,} bytes unpacked"
                    refuse(value, f"the file in the {self.name} file is too large", "split it")
                if piece:
                    yield piece
        except _DamagedError as error:
            problem = Problem(PATH, "", f"the {self.name} file is damaged: {error}", "compress and upload it again")
            raise InvalidInputError([problem]) from None

    def _pieces(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        part = self.part()
        for chunk in chunks:
            data = chunk
            while data:
                if part.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    part = self.part()
                yield from part.fed(data)
                data = part.rest if part.eof else b""
        if not part.eof:
            raise _DamagedError("it ends in the middle")


COMPRESSIONS = (
    Compression("gzip", rb"\x1f\x8b", _GzipMember),
    # A file can begin with a frame that is to be skipped, as pzstd writes it.
    Compression("zstd", rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", _ZstdFrame),
)
