"""Interval of the average precision: the wider of the bootstrap's and of Wilson's on the number of positive images.

The average precision is a mean over positive images of shares. Where nearly all of them score high, the few that do not
may be missing from the data, and a bootstrap then knows nothing of them; Wilson's interval allows for them.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from chiron.metrics.estimate import Interval
from chiron.metrics.intervals.bootstrap import undefined_note
from chiron.metrics.intervals.proportion import wilson

METHOD = "wider of bootstrap and Wilson"


def precision_mean_interval(
    value: float,
    resampled: Float[np.ndarray, "resamples"],
    positive_groups: Int[np.ndarray, "positives"],
    by_bootstrap: Interval,
    *,
    confidence: float = 0.95,
) -> Interval:
    """The wider of both on each side; never of width zero, and null where too many resamples lack a class.

    The positive images of a group are taken as fully alike, which makes their number sum(m)^2 / sum(m^2); it is divided
    by the variance over resamples in terms of a share's variance, where that is above 1.

    Args:
        positive_groups: number of each positive image's group.
        by_bootstrap: the interval from the same resamples.
    Source: the binomial interval of Boyd, Eng and Page 2013, doi:10.1007/978-3-642-40994-3_29, with Wilson's limits.
    """
    is_defined = np.isfinite(resampled)
    refused, note = undefined_note(is_defined)
    if refused:
        return by_bootstrap
    sizes = np.unique(positive_groups, return_counts=True)[1].astype(np.float64)
    total = sizes.sum() ** 2 / (sizes**2).sum()
    if 0 < value < 1:
        total /= max(1.0, resampled[is_defined].var() * total / (value * (1 - value)))
    if len(sizes) < 2:
        return Interval(None, None, METHOD, "all positive images come from one group")
    quantile = float(special.stdtrit(len(sizes) - 1, (1 + confidence) / 2))
    low, high = wilson(value * total, total, quantile=quantile)
    if by_bootstrap.low is None or by_bootstrap.high is None:
        return Interval(low, high, METHOD, note)
    return Interval(min(low, by_bootstrap.low), max(high, by_bootstrap.high), METHOD, note)
