"""Specificity at a sensitivity of 0.95."""

import functools

import numpy as np
from jaxtyping import Float

from chiron.metrics.cases import BinaryLabels, check_scores
from chiron.metrics.fixed_rates import jump_at_sensitivity, specificity_at
from chiron.metrics.metric import Basis, Family, Metric, Need
from chiron.metrics.ranking import Ranking

SENSITIVITY = 0.95


def specificity_at_sensitivity_95(y_true: BinaryLabels, y_score: Float[np.ndarray, "n"]) -> float:
    """The highest specificity that a threshold of these scores has at a sensitivity of 0.95 or more (1 is best).

    The threshold is chosen on the same images: it describes the ranking and is no operating point. NaN when all images
    are positive or all are negative.

    Raises:
        MetricError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    Example:
        >>> specificity_at_sensitivity_95(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.5
    """
    return float(specificity_at(Ranking(*check_scores(y_true, y_score)).plain_counts(), SENSITIVITY)[0])


METRIC = Metric(
    key="specificity_at_sensitivity_95",
    title="Specificity at sensitivity 0.95",
    direction="up",
    family=Family.RESAMPLED,
    basis=Basis.RANKS,
    compute=functools.partial(specificity_at, sensitivity=SENSITIVITY),
    needs=(Need.CLASS, Need.REST),
    per_class=True,
    positive_key="specificity_at_sensitivity_95",
    min_groups=100,  # five of either side beyond the threshold
    jump=functools.partial(jump_at_sensitivity, sensitivity=SENSITIVITY),
)
