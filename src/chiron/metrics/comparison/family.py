"""Several comparisons told together: intervals that hold for all of them at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import special

from chiron.metrics.comparison.finding import Levels


def family_levels(
    drawn: Sequence[Float[np.ndarray, "resamples"]], values: Sequence[float], *, confidence: float, num_untested: int
) -> Levels:
    """The levels of a family's intervals, for a test (1 - alpha) and for equivalence (1 - 2 alpha).

    A comparison of the plan that could not be tested keeps its part of alpha, as it does in Holm's adjustment: leaving
    it out would make the others look surer than the plan allows.

    Args:
        drawn, values: of the comparisons that have an interval, as for `simultaneous_level`.
        num_untested: comparisons without one.
    """
    tested = len(drawn) / (len(drawn) + num_untested) if drawn else 1.0
    own = [1 - tested * (1 - level) for level in (confidence, 2 * confidence - 1)]
    if num_untested == 0:
        own = [confidence, 2 * confidence - 1]
    outer, inner = (simultaneous_level(drawn, values, confidence=it) if len(drawn) > 1 else it for it in own)
    return Levels(confidence, outer, inner)


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
