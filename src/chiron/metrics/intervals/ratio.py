"""Intervals of a ratio of two proportions of different images, as likelihood ratios are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Num
from scipy import special

from chiron.metrics.estimate import Interval
from chiron.metrics.intervals.proportion import proportion_interval

METHOD = "log scale, delta method"
CLUSTERED_METHOD = "log scale, clustered delta method, t"
AT_ITS_END = "from the Wilson limits of both rates"


@dataclass(frozen=True)
class Rate:
    """How many images of each group count for a proportion, and how many of them succeed."""

    successes: Num[np.ndarray, "groups"]
    totals: Num[np.ndarray, "groups"]

    @property
    def value(self) -> float:
        """The proportion over all groups."""
        return float(self.successes.sum() / self.totals.sum())

    @property
    def num_groups(self) -> int:
        """Groups with an image that counts."""
        return int((self.totals > 0).sum())


def ratio_interval(first: Rate, second: Rate, *, confidence: float = 0.95) -> Interval:
    """Limits of first / second; never of width zero. The upper one is infinite where the second is 0.

    Inside (0, 1) the delta method on the log scale: with single images the variance is 1/a - 1/A + 1/b - 1/B, with
    several images a group the sum over groups of their squared parts, and t with the groups of the smaller side - 1.
    Where a rate is 0 or 1 its part of that variance would be 0 or infinite; there the limits are put together from the
    Wilson limits of both rates.

    Args:
        first, second: groups in the same order; both with an image that counts, not both 0.
    Source: Simel, Samsa and Matchar 1991, doi:10.1016/0895-4356(91)90128-V; clusters: the same linearization, summed by
        group; the ends: Donner and Zou 2012, doi:10.1177/0962280210383142, method MOVER.
    """
    single = bool((first.totals + second.totals).max() <= 1)
    method = METHOD if single else CLUSTERED_METHOD
    smaller = min(first.num_groups, second.num_groups)
    if smaller < 2 and not single:
        return Interval(None, None, method, "all images of a side come from one group")
    one, two = first.value, second.value
    if not (0 < one < 1 and 0 < two < 1):
        limits = [_wilson_limits(rate, confidence) for rate in (first, second)]
        return Interval(*_ratio_limits(one, two, *limits), AT_ITS_END)
    parts = _relative_parts(first) - _relative_parts(second)
    variance = (parts**2).sum()
    quantile = special.ndtri((1 + confidence) / 2)
    if not single:
        in_use = int((first.totals + second.totals > 0).sum())
        variance *= in_use / (in_use - 1)
        quantile = special.stdtrit(smaller - 1, (1 + confidence) / 2)
    half = quantile * np.sqrt(variance)
    return Interval(float(one / two * np.exp(-half)), float(one / two * np.exp(half)), method)


def _relative_parts(rate: Rate) -> np.ndarray:
    """What each group adds to the logarithm of the rate, to first order."""
    return (rate.successes - rate.value * rate.totals) / rate.successes.sum()


def _wilson_limits(rate: Rate, confidence: float) -> tuple[float, float]:
    interval = proportion_interval(rate.successes, rate.totals, confidence=confidence)
    return (0.0, 1.0) if interval.low is None or interval.high is None else (interval.low, interval.high)


def _ratio_limits(
    one: float, two: float, limits_one: tuple[float, float], limits_two: tuple[float, float]
) -> tuple[float, float]:
    """Donner and Zou's equations, the lower limit with the root in the denominator so that nothing cancels."""
    (low_one, high_one), (low_two, high_two) = limits_one, limits_two
    product = one * two
    start = low_one * (2 * one - low_one)
    root = np.sqrt(product**2 - start * high_two * (2 * two - high_two))
    low = start / (product + root) if product + root > 0 else 0.0
    if low_two == 0:
        return float(low), np.inf
    end = low_two * (2 * two - low_two)
    return float(low), float((product + np.sqrt(product**2 - high_one * (2 * one - high_one) * end)) / end)
