"""Large files are staged in the function's memory, over as many calls as they take; full size: ``make test-full``."""

from __future__ import annotations

import pytest

from foundation.functions import function_sizes
from tests.support.deployment import scaled
from tests.support.large_files import Outcome, staged_alone

MB = 1_000_000
GB = 1_000 * MB
MEMORY_MB = function_sizes("row_batches")["validate_input"].memory_mb
SDK_MB = 120
"""What boto3 and the function's own runtime take in addition."""


def shown(kind: str, outcome: Outcome) -> None:
    """Print the figures: ``pytest -s`` shows them."""
    print(f"\n{kind}: {outcome}")


@pytest.mark.parametrize("kind", ["parquet", "csv.gz"])
def test_a_file_of_two_gigabytes_fits_into_memory_and_has_the_same_bytes_over_several_calls(kind: str) -> None:
    size = scaled(2 * GB, 12 * MB)

    at_once = staged_alone(kind, size)
    slowly = staged_alone(kind, size, at_once.staged_bytes / 2_000)
    shown(kind, at_once)
    shown(kind, slowly)

    assert (at_once.calls, at_once.refusal) == (1, "")
    assert slowly.calls == 3, "a call stages rows for 780 s"
    assert (slowly.sha256, slowly.rows) == (at_once.sha256, at_once.rows)
    assert slowly.file_hashes == at_once.file_hashes >= 1
    assert max(at_once.peak_mb, slowly.peak_mb) + SDK_MB < MEMORY_MB


def test_a_csv_of_three_gigabytes_on_a_slow_function_has_the_same_bytes_over_several_calls() -> None:
    size = scaled(3 * GB, 30 * MB)
    at_11_mb_a_second = 11 * MB * size / (3 * GB)

    at_once = staged_alone("csv", size, at_11_mb_a_second)
    slowly = staged_alone("csv", size, at_11_mb_a_second / 4)
    shown("csv", at_once)
    shown("csv", slowly)

    assert (at_once.calls, slowly.calls) == (1, 2), "a call stages rows for 780 s"
    assert (slowly.sha256, slowly.rows) == (at_once.sha256, at_once.rows)
    assert slowly.file_hashes == at_once.file_hashes >= 1
    assert slowly.read_bytes < at_once.read_bytes + slowly.calls * scaled(GB, size)
    assert max(at_once.peak_mb, slowly.peak_mb) + SDK_MB < MEMORY_MB


def test_a_workbook_of_200_megabytes_is_refused_before_it_is_read() -> None:
    refused = staged_alone("xlsx", 200 * MB)

    assert "the workbook is over 64,000,000 bytes, the most that is read" in refused.refusal
    assert refused.read_bytes <= 2 * MB
