"""Points of the ROC curve at a rate that is fixed beforehand, from ranked counts."""

import numpy as np
from jaxtyping import Float

from chiron.metrics.ranking import RankedCounts

_ROUNDING = 1e-9  # of a whole count: 0.05 x 20 negatives are one, not 0.9999999999999999


def sensitivity_at(ranked: RankedCounts, specificity: float) -> Float[np.ndarray, "resamples"]:
    """The highest sensitivity of a threshold whose specificity is at least this one; NaN without both kinds."""
    allowed = np.floor((1 - specificity) * ranked.num_negative + _ROUNDING).astype(ranked.fp.dtype)
    found = np.where(ranked.fp <= allowed[:, np.newaxis], ranked.weight, 0).sum(axis=1)
    return np.divide(found, ranked.num_positive, out=np.full(found.shape, np.nan), where=ranked.has_both)


def specificity_at(ranked: RankedCounts, sensitivity: float) -> Float[np.ndarray, "resamples"]:
    """The highest specificity of a threshold whose sensitivity is at least this one; NaN without both kinds."""
    needed = np.ceil(sensitivity * ranked.num_positive - _ROUNDING).astype(ranked.tp.dtype)
    threshold = np.count_nonzero(ranked.tp < needed[:, np.newaxis], axis=1)  # the counts rise along a row
    both = np.flatnonzero(ranked.has_both)
    values = np.full(len(needed), np.nan)
    values[both] = 1 - ranked.fp[both, threshold[both]] / ranked.num_negative[both]
    return values
