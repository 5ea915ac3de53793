"""What a sample of rows says about all rows: an expected value and a range that holds with 90 % confidence.

Means have the range of a percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13):
it needs no assumption about how times and costs are distributed, and they are skewed. Shares have the Wilson score
interval (Wilson, J. Am. Stat. Assoc. 22, 1927), which also holds for 0 failures of 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from random import Random
from statistics import fmean

from pydantic import ConfigDict

from foundation.lazy_model import LazyModel

SAMPLES = 2_000
Z = 1.6448536269514722
"""The 95th percentile of the standard normal distribution: 5 % on each side are left out."""


class Forecast(LazyModel):
    """``expected``, and ``low`` to ``high``: the range that holds with 90 % confidence."""

    model_config = ConfigDict(frozen=True)

    expected: float
    low: float
    high: float

    def times(self, factor: float) -> Forecast:
        return Forecast(expected=self.expected * factor, low=self.low * factor, high=self.high * factor)

    def plus(self, other: Forecast) -> Forecast:
        """The sum. The range is at least as wide as that of the sum, because both ends are added."""
        return Forecast(expected=self.expected + other.expected, low=self.low + other.low, high=self.high + other.high)

    def at_least(self, least: float) -> Forecast:
        return Forecast(expected=max(self.expected, least), low=max(self.low, least), high=max(self.high, least))

    def rounded(self, digits: int) -> Forecast:
        return Forecast(
            expected=round(self.expected, digits), low=round(self.low, digits), high=round(self.high, digits)
        )


def mean_of(values: Sequence[float], seed: int = 0) -> Forecast:
    """The mean of what ``values`` are a sample of. Raises ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    random, count = Random(seed), len(values)  # noqa: S311 (a sample, not a secret)
    means = sorted(fmean(random.choices(values, k=count)) for _ in range(SAMPLES))
    return Forecast(expected=fmean(values), low=means[SAMPLES // 20], high=means[-SAMPLES // 20 - 1])


def share_of(hits: int, count: int) -> Forecast:
    """The share of what ``hits`` of ``count`` are a sample of, from 0 to 1. Raises ValueError if ``count`` is 0."""
    if not count:
        raise ValueError("no values")
    share, spread = hits / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    # Rounding must not put the share itself out of its range.
    return Forecast(expected=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half)))


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of ``values`` that is not below ``percent`` of them (nearest rank)."""
    in_order = sorted(values)
    return in_order[max(0, -(-len(in_order) * percent // 100) - 1)]
