"""What a sample of rows says about all rows: an expected value and a range that holds with 90 % confidence.

Times and costs of rows are skewed. The range of their mean is the wider one of two: Student's t interval, and the
bootstrap-t interval (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 12), which follows the skew.
Shares have the Wilson score interval (Wilson, J. Am. Stat. Assoc. 22, 1927), which also holds for 0 failures of 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from random import Random

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
    """The mean of what ``values`` are a sample of; they are not negative.

    Raises ValueError if there are fewer than two, because one value says nothing about the range.
    """
    count = len(values)
    if count < 2:
        raise ValueError("fewer than two values")
    random = Random(seed)  # noqa: S311 (a sample, not a secret)
    mean, error = _mean_and_error(values)
    ratios = []
    for _ in range(SAMPLES):
        drawn, drawn_error = _mean_and_error(random.choices(values, k=count))
        if drawn_error > 0:
            ratios.append((drawn - mean) / drawn_error)
    ratios.sort()
    student = _student_t(count - 1)
    below = max(student, ratios[-len(ratios) // 20 - 1] if ratios else 0)
    above = max(student, -ratios[len(ratios) // 20] if ratios else 0)
    return Forecast(expected=mean, low=max(0.0, mean - below * error), high=mean + above * error)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error."""
    count = len(values)
    mean = sum(values) / count
    return mean, sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)


def _student_t(freedom: int) -> float:
    """The 95th percentile of Student's t distribution, by its expansion from the normal distribution.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    return (
        Z
        + (Z**3 + Z) / (4 * freedom)
        + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
        + (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * freedom**3)
    )


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
