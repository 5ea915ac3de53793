"""A forecast for all rows from a sample: an expected value and a range with 90 % confidence.

Times and costs of rows are skewed. The range of their mean is the wider one of two: Student's t interval, and the
bootstrap-t interval (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 12), which follows the skew.
The second one has no end where most values are nearly equal and a few are far away, as the costs of rows with one and
three attempts are. So Anderson's bound limits it ("Confidence Limits for the Value of an Arbitrary Bounded Random
Variable", 1969), which holds for any distribution between two bounds.
Shares have the Wilson score interval (Wilson, J. Am. Stat. Assoc. 22, 1927), which also holds for 0 failures of 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log, sqrt
from random import Random

from pydantic import ConfigDict

from foundation.lazy_model import LazyModel

SAMPLES = 2_000
Z = 1.6448536269514722
"""The 95th percentile of the standard normal distribution: 5 % on each side are left out."""
LEFT_OUT = 0.05
"""The part that is left out on each side."""


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
    """The mean of the population that ``values`` are a sample of. They are not negative.

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
    low, high = mean - student * error, mean + student * error
    if ratios:
        least, most = _bounds(values)
        low = min(low, max(least, mean - ratios[-len(ratios) // 20 - 1] * error))
        high = max(high, min(most, mean - ratios[len(ratios) // 20] * error))
    return Forecast(expected=mean, low=max(0.0, low), high=high)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper bound (Anderson) of the mean of all values, of which ``values`` are a sample.

    They hold if no value exceeds ``limit``, which is the sample's highest value plus its range. The distribution of all
    values then lies within ``band`` of the sample's (Massart, Ann. Probab. 18, 1990), except with a probability of
    ``LEFT_OUT`` on each side. The mean is lowest if a share of ``band``, of the highest values, has the least value
    instead, and highest if a share of ``band``, of the lowest values, has ``limit`` instead.
    """
    in_order, count = sorted(values), len(values)
    band = sqrt(-log(LEFT_OUT) / (2 * count))
    least, limit = in_order[0], 2 * in_order[-1] - in_order[0]
    steps = [(after - before, number / count) for number, (before, after) in enumerate(pairwise([*in_order, limit]), 1)]
    low = least + sum(step * max(0.0, 1 - share - band) for step, share in steps)
    return low, limit - sum(step * max(0.0, share - band) for step, share in steps)


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
    """The share in all rows, 0 to 1, from a sample with ``hits`` of ``count``. Raises ValueError if ``count`` is 0."""
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
