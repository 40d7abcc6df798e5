"""F1, the harmonic mean of precision and sensitivity."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.metric import Basis, Family, Metric, Need


def f1(y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int) -> Float[np.ndarray, "classes"]:
    """Harmonic mean of each class's precision and sensitivity, 2 TP / (2 TP + FP + FN) (1 is best).

    0 for a class that is present and never found; NaN for an absent class, about which F1 says nothing.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Example:
        >>> f1(np.array([0, 0, 1]), np.array([0, 0, 0]), num_classes=2)
        array([0.8, 0. ])
    """
    return METRIC.values(one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _harmonic(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    return 2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn


def _of_overlap(share: float) -> float:
    """F1 from the share of TP among TP + FP + FN: given their sum, TP is binomial, so its interval carries over."""
    return 2 * share / (1 + share)


METRIC = Metric(
    key="f1",
    title="F1",
    direction="up",
    family=Family.PROPORTION,
    basis=Basis.COUNTS,
    compute=_harmonic,
    needs=(Need.CLASS,),
    per_class=True,
    positive_key="f1",
    of_share=_of_overlap,
    averages=(("macro", "macro_f1"), ("weighted", "weighted_f1"), ("micro", "micro_f1")),
    same_as=(("micro_f1", "accuracy"),),
)
