"""Several comparisons told together: p-values adjusted by Holm, and intervals that hold for all of them at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import special

from chiron.core.errors import MetricError


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values; the chance of any false "better" in the family stays below alpha. NaN stays NaN and counts.

    A comparison without a test counts as one that could have been made, so the others do not gain from it.

    Raises:
        MetricError: a p-value lies outside 0..1.
    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    if ((given < 0) | (given > 1)).any():
        raise MetricError(f"p-values must lie in 0..1. Got {list(p_values)}. Give those of the tests themselves.")
    order = np.argsort(np.where(np.isnan(given), np.inf, given), kind="stable")
    steps = (len(given) - np.arange(len(given))) * given[order]
    adjusted = np.full(len(given), np.nan)
    known = ~np.isnan(steps)
    adjusted[order[known]] = np.minimum(1.0, np.maximum.accumulate(steps[known]))
    return adjusted.tolist()


def simultaneous_level(
    drawn: Sequence[Float[np.ndarray, "resamples"]], values: Sequence[float], *, confidence: float
) -> float:
    """The level that each interval of the family needs, so that all hold together with `confidence`.

    The largest of the studentized differences over the family, on resamples that are the same for all of them, says how
    far out the family's worst interval lies; comparisons that go together cost less than Bonferroni's.

    Args:
        drawn: each difference on the same resamples; rows where one is undefined are left out.
        values: the differences of the data.
    Returns:
        The confidence of each single interval, between `confidence` and 1.
    Source: max-t: Westfall and Young 1993, Resampling-Based Multiple Testing; Romano and Wolf 2005.
    """
    table = np.stack(drawn)
    table = table[:, np.isfinite(table).all(axis=0)]
    spread = table.std(axis=1, ddof=1)
    moving = spread > 0
    if not moving.any():
        return confidence
    distance = np.abs(table[moving] - np.asarray(values)[moving, np.newaxis]) / spread[moving, np.newaxis]
    quantile = float(np.quantile(distance.max(axis=0), confidence))
    bonferroni = 1 - (1 - confidence) / len(values)
    return float(np.clip(1 - 2 * special.ndtr(-quantile), confidence, bonferroni))
