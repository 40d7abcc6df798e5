"""Intervals of proportions: Wilson, Clopper-Pearson, mid-P; on an effective number when images come in groups."""

from typing import Literal

import numpy as np
from jaxtyping import Num
from scipy import optimize, special

from chiron.core.errors import MetricError
from chiron.metrics.estimate import Interval

ShareMethod = Literal["wilson", "clopper_pearson", "mid_p"]
_NAMES = {"wilson": "Wilson", "clopper_pearson": "Clopper-Pearson, as requested", "mid_p": "mid-P"}


def wilson(successes: float, total: float, *, quantile: float) -> tuple[float, float]:
    """Lower and upper limit of the score interval of a proportion.

    Args:
        successes: may be a fraction when `total` is an effective number.
        quantile: of the normal (or t) distribution, 1.96 for 95 %.
    Raises:
        MetricError: `successes` does not lie in 0..total, or total is not above 0.
    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    Example:
        >>> [round(limit, 4) for limit in wilson(9, 10, quantile=1.959964)]
        [0.5958, 0.9821]
    """
    _check_counts(successes, total)
    share = successes / total
    shrink = 1 + quantile**2 / total
    center = (share + quantile**2 / (2 * total)) / shrink
    half = quantile * np.sqrt(share * (1 - share) / total + quantile**2 / (4 * total**2)) / shrink
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == total else min(1.0, center + half)
    return float(low), float(high)


def clopper_pearson(successes: float, total: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper limit of the exact interval of a proportion: never covers less often than stated, often more.

    Args:
        successes: may be a fraction when `total` is an effective number.
    Raises:
        MetricError: `successes` does not lie in 0..total, or total is not above 0.
    Source: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
    Example:
        >>> [round(limit, 4) for limit in clopper_pearson(9, 10)]
        [0.555, 0.9975]
    """
    _check_counts(successes, total)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else special.betaincinv(successes, total - successes + 1, tail)
    high = 1.0 if successes == total else special.betainccinv(successes + 1, total - successes, tail)
    return float(low), float(high)


def mid_p(successes: float, total: float, *, quantile: float) -> tuple[float, float]:
    """Lower and upper limit of the exact interval that counts half the chance of the data themselves.

    Near 0 and 1 its tails are even, where Wilson's limit that lies nearer to the middle is left out too often: in one
    proportion the other limit makes up for it, in a mean of several nothing does.

    Args:
        successes: may be a fraction when `total` is an effective number.
        quantile: of the normal (or t) distribution, 1.96 for 95 %.
    Raises:
        MetricError: `successes` does not lie in 0..total, or total is not above 0.
    Source: Lancaster 1961, doi:10.1080/01621459.1961.10482105; Berry and Armitage 1995, doi:10.2307/2348891.
    Example:
        >>> [round(limit, 4) for limit in mid_p(9, 10, quantile=1.959964)]
        [0.5965, 0.995]
    """
    _check_counts(successes, total)
    tail = float(special.ndtr(-quantile))
    return _mid_p_lower(successes, total, tail), 1 - _mid_p_lower(total - successes, total, tail)


def _mid_p_lower(successes: float, total: float, tail: float) -> float:
    """The share at which so many or more have this chance, those just as many counted half."""
    if successes <= 0:
        return 0.0

    def chance(share: float) -> float:
        as_many = special.betainc(successes, total - successes + 1, share)
        more = special.betainc(successes + 1, total - successes, share) if successes < total else 0.0
        return float(as_many + more) / 2 - tail

    return float(optimize.brentq(chance, 0.0, 1.0, xtol=1e-14))


def design_effect(successes: Num[np.ndarray, "groups"], totals: Num[np.ndarray, "groups"]) -> float:
    """How many times more variable the proportion is than with independent images, at least 1.

    When all images succeed, or none does, the data do not show how alike the images of a group are; they are then taken
    as fully alike, which makes the effective number sum(m)^2 / sum(m^2).

    Args:
        successes: images of each group that succeed.
        totals: images of each group, above 0.
    Source: ratio estimator over clusters, Rao and Scott 1992, doi:10.2307/2532311.
    """
    num_groups, total = len(totals), totals.sum()
    share = successes.sum() / total
    if share in (0.0, 1.0):
        return float((totals.astype(np.float64) ** 2).sum() / total)
    residuals = successes - share * totals
    clustered = num_groups / (num_groups - 1) * (residuals**2).sum() / total**2
    return max(1.0, float(clustered / (share * (1 - share) / total)))


def proportion_interval(
    successes: Num[np.ndarray, "groups"],
    totals: Num[np.ndarray, "groups"],
    *,
    confidence: float = 0.95,
    method: ShareMethod = "wilson",
) -> Interval:
    """With several images a group on the effective number of images, with the t quantile of groups - 1.

    Args:
        successes: images of each group that succeed.
        totals: images of each group that count; groups with 0 play no part.
        method: Clopper-Pearson with several images a group takes the effective number of Korn and Graubard 1998,
            doi:10.1002/sim.4780172304, which holds the t quantile.
    """
    counted = totals > 0
    successes, totals = successes[counted], totals[counted]
    tail = (1 + confidence) / 2
    name = _NAMES[method]
    limits_of = mid_p if method == "mid_p" else wilson
    if len(totals) == 0:
        return Interval(None, None, name, "no image to count")
    if (totals == 1).all():
        if method == "clopper_pearson":
            limits = clopper_pearson(float(successes.sum()), float(totals.sum()), confidence=confidence)
            return Interval(*limits, name)
        quantile = float(special.ndtri(tail))
        return Interval(*limits_of(float(successes.sum()), float(totals.sum()), quantile=quantile), name)
    name = f"clustered {name}"
    if len(totals) < 2:
        return Interval(None, None, name, "all images come from one group")
    effect = design_effect(successes, totals)
    quantile = float(special.stdtrit(len(totals) - 1, tail))
    if method == "clopper_pearson":
        effect *= (quantile / special.ndtri(tail)) ** 2
        share, effective = float(successes.sum() / totals.sum()), float(totals.sum() / effect)
        return Interval(*clopper_pearson(share * effective, effective, confidence=confidence), name)
    limits = limits_of(float(successes.sum()) / effect, float(totals.sum()) / effect, quantile=quantile)
    return Interval(*limits, name)


def _check_counts(successes: float, total: float) -> None:
    if not (total > 0 and 0 <= successes <= total):
        raise MetricError(
            f"Successes must lie between 0 and a total above 0. Got {successes} of {total}. Check the counts."
        )
