"""Compressed files: several parts, padding, cut and damaged ones, and ones that unpack to any size."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections import deque

import pytest

from foundation.errors import InvalidInputError
from row_batches.files.compression import COMPRESSIONS, Compression
from tests.support.tables import PACKERS, zstd

TABLE = b"a,b\n" + b"1,2\n" * 500_000
PARTS = {
    "gzip": [gzip.compress(TABLE[:700_000]), gzip.compress(b""), gzip.compress(TABLE[700_000:])],
    "zstd": [
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip",
        zstd.compress(TABLE[:700_000]),
        zstd.compress(b""),
        zstd.compress(TABLE[700_000:]),
    ],
}
each = pytest.mark.parametrize("packing", COMPRESSIONS, ids=lambda one: one.name)


def unpacked(packing: Compression, data: bytes, size: int = 65_536, max_bytes: int = 100_000_000) -> list[bytes]:
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    return list(packing.unpacked(chunks, max_bytes=max_bytes))


@each
@pytest.mark.parametrize("size", [1, 997, 1 << 20])
def test_several_parts_are_one_file_in_chunks_of_any_size(packing: Compression, size: int) -> None:
    data = b"".join(PARTS[packing.name]) + b"\0" * 512

    assert packing.is_it(data)
    assert b"".join(unpacked(packing, data, size)) == TABLE


@each
def test_a_file_that_unpacks_to_any_size_ends_at_the_limit_in_little_memory(packing: Compression) -> None:
    bomb = PACKERS[packing.name](bytes(200_000_000))
    tracemalloc.start()

    with pytest.raises(InvalidInputError, match="over 50,000,000 bytes unpacked"):
        deque(packing.unpacked([bomb], max_bytes=50_000_000), maxlen=1)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@each
@pytest.mark.parametrize("cut", [3, 20, -9, -1])
def test_a_file_that_is_cut_off_is_named_so(packing: Compression, cut: int) -> None:
    with pytest.raises(InvalidInputError, match=f"the {packing.name} file is damaged: it ends in the middle"):
        unpacked(packing, PACKERS[packing.name](TABLE)[:cut])


@each
def test_a_damaged_file_is_named_so(packing: Compression) -> None:
    data = bytearray(PACKERS[packing.name](TABLE))
    data[5:60] = bytes(55)

    with pytest.raises(InvalidInputError, match=f"the {packing.name} file is damaged"):
        unpacked(packing, bytes(data))


@each
def test_what_follows_a_part_and_is_none_is_refused(packing: Compression) -> None:
    with pytest.raises(InvalidInputError, match="is damaged"):
        unpacked(packing, PACKERS[packing.name](TABLE) + b"more text")


def test_a_window_that_takes_too_much_memory_is_refused_by_name() -> None:
    (packing,) = [one for one in COMPRESSIONS if one.name == "zstd"]
    options = {zstd.CompressionParameter.window_log: 28, zstd.CompressionParameter.enable_long_distance_matching: 1}
    compressor = zstd.ZstdCompressor(options=options)

    with pytest.raises(InvalidInputError, match="its window is over 134,217,728 bytes; use --long=27 or less"):
        unpacked(packing, compressor.compress(TABLE) + compressor.flush())


def test_text_that_was_packed_without_a_header_is_no_gzip_file() -> None:
    assert not any(one.is_it(zlib.compress(TABLE)) for one in COMPRESSIONS)
