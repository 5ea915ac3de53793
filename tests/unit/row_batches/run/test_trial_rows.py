"""Which rows a trial has, and what a sample says about all rows."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_batches.run.trial_forecast import mean_of, percentile, share_of
from row_batches.run.trial_rows import Candidate, candidate_places, choose_rows


def candidates_of(sizes: list[int], rows: int, seed: int = 0) -> list[Candidate]:
    return [Candidate(place + 1, part, sizes[place]) for place, part in candidate_places(len(sizes), rows, seed)]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200), st.integers(1, 50), st.integers(0, 9))
def test_as_many_rows_are_chosen_as_asked_for_each_once_and_always_the_same(
    sizes: list[int], rows: int, seed: int
) -> None:
    chosen = choose_rows(candidates_of(sizes, rows, seed), rows, seed)

    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(rows, len(sizes))
    assert set(chosen) <= set(range(1, len(sizes) + 1))
    assert chosen == choose_rows(candidates_of(sizes, rows, seed), rows, seed)


@pytest.mark.parametrize("order", ["random", "ascending", "two kinds"])
def test_rows_are_spread_over_the_file_and_over_the_sizes(order: str) -> None:
    random = Random(7)
    sizes = [random.randint(1, 9_999) for _ in range(10_000)]
    sizes = {"random": sizes, "ascending": sorted(sizes), "two kinds": [10] * 9_000 + [5_000] * 1_000}[order]

    chosen = choose_rows(candidates_of(sizes, 20), 20, 0)

    assert [(row - 1) * 20 // 10_000 for row in chosen] == list(range(20)), "one of each part of the file"
    by_size = sorted(sizes)
    assert sum(sizes[row - 1] for row in chosen) / 20 == pytest.approx(sum(by_size) / 10_000, rel=0.15)
    if order != "two kinds":
        classes = sorted(by_size.index(sizes[row - 1]) * 20 // 10_000 for row in chosen)
        assert max(abs(found - expected) for found, expected in zip(classes, range(20), strict=True)) <= 2


def test_another_seed_chooses_other_rows() -> None:
    assert len({tuple(choose_rows(candidates_of(list(range(1_000)), 10, seed), 10, seed)) for seed in range(5)}) == 5


def test_a_share_has_the_wilson_interval() -> None:
    none = share_of(0, 20)
    assert (none.expected, none.low) == (0, 0)
    assert none.high == pytest.approx(0.1192, abs=1e-4)  # z² / (n + z²)
    half = share_of(10, 20)
    assert half.low == pytest.approx(0.3274, abs=1e-4)
    assert half.high == pytest.approx(0.6726, abs=1e-4)


@given(st.integers(1, 200).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_a_share_lies_in_its_range(counts: tuple[int, int]) -> None:
    share = share_of(*counts)
    assert 0 <= share.low <= share.expected <= share.high <= 1


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_a_mean_lies_in_its_range(values: list[float]) -> None:
    mean = mean_of(values)
    assert 0 <= mean.low <= mean.expected * (1 + 1e-9)
    assert mean.expected <= mean.high * (1 + 1e-9)
    assert mean == mean_of(values)


def test_one_value_has_no_range() -> None:
    with pytest.raises(ValueError, match="fewer than two"):
        mean_of([1.0])


@pytest.mark.parametrize(("count", "least"), [(5, 84), (20, 87)])
def test_the_range_of_a_mean_of_skewed_values_holds_about_nine_times_in_ten(count: int, least: int) -> None:
    random = Random(5)
    hits = 0
    for number in range(100):
        mean = mean_of([random.expovariate(1) for _ in range(count)], number)
        hits += mean.low <= 1 <= mean.high
    assert least <= hits <= 97


@pytest.mark.parametrize(("usual", "seldom", "most"), [(0.001, 0.003, 0.003), (1.0, 30.0, 20.0)])
def test_a_few_values_far_from_many_nearly_equal_ones_give_a_range_within_reason(
    usual: float, seldom: float, most: float
) -> None:
    nearly_equal = [usual * (1 + number / 1_000) for number in range(19)]
    for values in ([usual] * 19 + [seldom], [*nearly_equal, seldom]):
        mean = mean_of(values)
        assert 0 <= mean.low <= mean.expected <= mean.high <= most


def test_percentiles_are_values_that_occurred() -> None:
    assert (percentile([5, 1, 3], 50), percentile([5, 1, 3], 90), percentile([7], 50)) == (3, 5, 7)
