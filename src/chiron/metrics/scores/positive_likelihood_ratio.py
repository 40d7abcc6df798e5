"""Positive likelihood ratio (LR+)."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.confusion import Counts, confusion_matrix, one_vs_rest
from chiron.metrics.metric import Basis, Family, Metric, Need


def positive_likelihood_ratio(
    y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int
) -> Float[np.ndarray, "classes"]:
    """How many times more often each class is named where it is than where it is not (more is better, 1 is chance).

    Sensitivity / (1 - specificity): the odds of the class are multiplied by it when the model names it. NaN for a class
    that is absent, alone, or never named falsely.

    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Source: Simel, Samsa and Matchar 1991, doi:10.1016/0895-4356(91)90128-V.
    Example:
        >>> positive_likelihood_ratio(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), num_classes=2)
        array([ 2., nan])
    """
    return METRIC.values(one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=num_classes)))


def _named_right_over_wrong(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    return counts.tp * (counts.fp + counts.tn), counts.fp * (counts.tp + counts.fn)


METRIC = Metric(
    key="positive_likelihood_ratio",
    title="Positive likelihood ratio (LR+)",
    direction="up",
    family=Family.RATIO,
    basis=Basis.COUNTS,
    compute=_named_right_over_wrong,
    needs=(Need.CLASS, Need.REST, Need.FALSE_ALARM),
    per_class=True,
    positive_key="positive_likelihood_ratio",
    upper_bound=np.inf,
)
