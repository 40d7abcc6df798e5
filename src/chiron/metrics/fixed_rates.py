"""Points of the ROC curve at a rate that is fixed beforehand, from ranked counts."""

import numpy as np
from jaxtyping import Float

from chiron.metrics.ranking import RankedCounts

_ROUNDING = 1e-9  # of a whole count: 0.05 x 20 negatives are one, not 0.9999999999999999


def sensitivity_at(ranked: RankedCounts, specificity: float) -> Float[np.ndarray, "resamples"]:
    """The highest sensitivity of a threshold whose specificity is at least this one; NaN without both kinds."""
    allowed = np.floor((1 - specificity) * ranked.num_negative + _ROUNDING).astype(ranked.fp.dtype)
    found = np.array([_tp_until(*row) for row in zip(ranked.tp, ranked.fp, allowed, strict=True)], dtype=np.float64)
    return np.divide(found, ranked.num_positive, out=np.full(found.shape, np.nan), where=ranked.has_both)


def specificity_at(ranked: RankedCounts, sensitivity: float) -> Float[np.ndarray, "resamples"]:
    """The highest specificity of a threshold whose sensitivity is at least this one; NaN without both kinds."""
    needed = np.ceil(sensitivity * ranked.num_positive - _ROUNDING).astype(ranked.tp.dtype)
    values = np.full(len(needed), np.nan)
    for place in np.flatnonzero(ranked.has_both):
        threshold = np.searchsorted(ranked.tp[place], needed[place], side="left")
        values[place] = 1 - ranked.fp[place, threshold] / ranked.num_negative[place]
    return values


def _tp_until(tp: np.ndarray, fp: np.ndarray, allowed: np.integer) -> int:
    """Positives called at the last threshold with at most `allowed` false alarms; both counts rise along the row."""
    num_thresholds = int(np.searchsorted(fp, allowed, side="right"))
    return int(tp[num_thresholds - 1]) if num_thresholds else 0
