"""Points of the ROC curve at a rate that is fixed beforehand, from ranked counts."""

import numpy as np
from jaxtyping import Float

from chiron.metrics.ranking import RankedCounts

LARGEST_STEP = 2.0  # standard errors of the fixed rate that images with one score may move it by
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


def jump_at_specificity(ranked: RankedCounts, specificity: float) -> str | None:
    """Why the sensitivity at this specificity jumps, where the next threshold adds many negatives of one score."""
    if not ranked.has_both[0]:
        return None
    allowed = np.floor((1 - specificity) * ranked.num_negative[0] + _ROUNDING)
    following = np.count_nonzero(ranked.fp[0] <= allowed)
    sharing = ranked.tied[0, ranked.tied_at == following].sum()  # none beyond the last threshold
    return _jump(int(sharing), int(ranked.num_negative[0]), specificity, "negative")


def jump_at_sensitivity(ranked: RankedCounts, sensitivity: float) -> str | None:
    """Why the specificity at this sensitivity jumps, where the threshold adds many positives of one score."""
    if not ranked.has_both[0]:
        return None
    needed = np.ceil(sensitivity * ranked.num_positive[0] - _ROUNDING)
    threshold = np.count_nonzero(ranked.tp[0] < needed)
    return _jump(int(ranked.weight[0, threshold]), int(ranked.num_positive[0]), sensitivity, "positive")


def _jump(sharing: int, total: int, rate: float, kind: str) -> str | None:
    if sharing <= LARGEST_STEP * np.sqrt(rate * (1 - rate) * total):
        return None
    return (
        f"too few different scores for a reliable interval ({sharing} of {total} {kind} images have the one at the "
        "threshold)"
    )
