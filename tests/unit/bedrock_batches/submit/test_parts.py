"""Cutting a job by quotas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batches.request.models import model_table
from bedrock_batches.submit.parts import Quotas, cut


def counts(total: int, quotas: Quotas, size: int = 100) -> list[int]:
    return [part.count for part in cut([size] * total, quotas)]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (0, []),
        (99, []),
        (100, [100]),
        (50_000, [50_000]),
        (50_001, [25_001, 25_000]),
        (120_050, [40_017, 40_017, 40_016]),
    ],
)
def test_a_job_is_cut_into_as_few_balanced_parts_as_the_quotas_allow(total: int, expected: list[int]) -> None:
    assert counts(total, Quotas()) == expected


def test_a_file_that_would_be_too_large_is_cut_further() -> None:
    assert counts(400, Quotas(bytes_per_file=15_000)) == [134, 133, 133]


def test_records_that_would_make_a_part_below_the_minimum_are_left_for_another_job() -> None:
    assert counts(130, Quotas(minimum_records=100, records_per_job=120)) == [120]


@given(
    sizes=st.lists(st.integers(1, 50), max_size=300),
    minimum=st.integers(1, 40),
    more=st.integers(0, 60),
    most_bytes=st.integers(100, 3_000),
)
def test_every_part_keeps_every_quota_and_no_record_is_in_two(
    sizes: list[int], minimum: int, more: int, most_bytes: int
) -> None:
    quotas = Quotas(minimum_records=minimum, records_per_job=minimum + more, bytes_per_file=most_bytes)
    parts = cut(sizes, quotas)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert [part.start for part in parts] == [0, *(part.end for part in parts)][:-1]
    for part in parts:
        assert minimum <= part.count <= minimum + more
        assert sum(sizes[part.start : part.end]) <= most_bytes
    if parts:
        assert max(part.count for part in parts) - min(part.count for part in parts) <= 1


@given(total=st.integers(0, 2_000), minimum=st.integers(1, 100), more=st.integers(0, 200))
def test_no_record_is_left_out_without_need(total: int, minimum: int, more: int) -> None:
    most = minimum + more
    taken = sum(counts(total, Quotas(minimum_records=minimum, records_per_job=most)))
    possible = [n for n in range(total + 1) if n == 0 or n >= minimum * -(-n // most)]
    assert taken == max(possible)


def test_the_models_own_minimum_counts_unless_the_deployment_gives_one() -> None:
    model = model_table()["amazon.nova-lite-v1:0"].model_copy(update={"minimum_records": 250})
    assert Quotas(records_per_job=300).of(model).minimum_records == 250
    assert Quotas(minimum_records=120).of(model).minimum_records == 120
    assert Quotas().of(None) == Quotas()
