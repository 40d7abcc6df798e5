"""Sensitivity at a specificity of 0.90."""

import functools

import numpy as np
from jaxtyping import Float

from chiron.metrics.cases import BinaryLabels, check_scores
from chiron.metrics.fixed_rates import jump_at_specificity, sensitivity_at
from chiron.metrics.metric import Basis, Family, Metric, Need
from chiron.metrics.ranking import Ranking

SPECIFICITY = 0.90


def sensitivity_at_specificity_90(y_true: BinaryLabels, y_score: Float[np.ndarray, "n"]) -> float:
    """The highest sensitivity that a threshold of these scores has at a specificity of 0.90 or more (1 is best).

    The threshold is chosen on the same images: it describes the ranking and is no operating point. NaN when all images
    are positive or all are negative.

    Raises:
        MetricError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    Example:
        >>> sensitivity_at_specificity_90(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
        0.5
    """
    return float(sensitivity_at(Ranking(*check_scores(y_true, y_score)).plain_counts(), SPECIFICITY)[0])


METRIC = Metric(
    key="sensitivity_at_specificity_90",
    title="Sensitivity at specificity 0.90",
    direction="up",
    family=Family.RESAMPLED,
    basis=Basis.RANKS,
    compute=functools.partial(sensitivity_at, specificity=SPECIFICITY),
    needs=(Need.CLASS, Need.REST),
    per_class=True,
    positive_key="sensitivity_at_specificity_90",
    min_groups=50,  # five of either side beyond the threshold
    jump=functools.partial(jump_at_specificity, specificity=SPECIFICITY),
)
