"""The receiver operating characteristic curve."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from chiron.core.errors import MetricError
from chiron.metrics.cases import BinaryLabels, check_scores


@dataclass(frozen=True)
class RocCurve:
    """Corners of the curve by falling threshold; the first threshold is infinite: nothing is called positive."""

    fpr: Float[np.ndarray, "points"]
    tpr: Float[np.ndarray, "points"]
    threshold: Float[np.ndarray, "points"]


def roc_curve(y_true: BinaryLabels, y_score: Float[np.ndarray, "n"]) -> RocCurve:
    """The curve of false-positive and true-positive rate, without points that lie on a straight piece.

    Args:
        y_true: 1 for an image of the class, 0 for any other; both must occur.
        y_score: an image is called positive when its score is at least the threshold.
    Raises:
        MetricError: lengths differ, a score is not finite, or one side has no image.
    Example:
        >>> roc_curve(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])).tpr.tolist()
        [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    positive, scores = check_scores(y_true, y_score)
    if positive.all() or not positive.any():
        raise MetricError(
            f"A ROC curve needs positive and negative images. Got {int(positive.sum())} positive of {len(positive)}. "
            "Leave this class out."
        )
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # last row of each score
    tp = np.append(0, np.cumsum(positive[order])[ends])
    fp = np.append(0, ends + 1) - tp
    up, right = np.diff(tp), np.diff(fp)
    bends = up[1:] * right[:-1] != up[:-1] * right[1:]
    kept = np.concatenate([[True], bends, [True]])
    threshold = np.append(np.inf, scores[order][ends])
    return RocCurve((fp / fp[-1])[kept], (tp / tp[-1])[kept], threshold[kept])
