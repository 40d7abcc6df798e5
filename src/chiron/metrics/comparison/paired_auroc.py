"""Differences of AUROCs of models scored on the same images: DeLong's variance, also for images in groups.

The variance of an AUROC is quadratic in the placements of the images, so the variance of a weighted sum of AUROCs is
that of the same sum of placements: covariances need no code of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.metrics.intervals.auroc import Placements, obuchowski_variance, placements


@dataclass(frozen=True)
class AurocContrast:
    """A weighted sum of AUROCs with the variance that comes from the cases; NaN with fewer than two groups a side."""

    value: float
    variance: float


def auroc_contrast(
    positive: Bool[np.ndarray, "n"],
    y_scores: Sequence[Float[np.ndarray, "n"]],
    weights: Sequence[float],
    group_index: Int[np.ndarray, "n"],
) -> AurocContrast:
    """The sum of `weights` times the AUROC of each score; weights -1 and 1 give the difference second - first.

    Args:
        positive: true for an image of the class; both kinds must occur.
        group_index: number of each image's group.
    Source: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595; groups: Obuchowski 1997, doi:10.2307/2533958.
    """
    placed = [placements(positive, scores, group_index) for scores in y_scores]
    summed = Placements(
        value=sum(weight * one.value for weight, one in zip(weights, placed, strict=True)),
        of_positives=_weighted(weights, [one.of_positives for one in placed]),
        of_negatives=_weighted(weights, [one.of_negatives for one in placed]),
        positive_groups=placed[0].positive_groups,
        negative_groups=placed[0].negative_groups,
    )
    return AurocContrast(summed.value, obuchowski_variance(summed))


def _weighted(weights: Sequence[float], parts: Sequence[np.ndarray]) -> Float[np.ndarray, "side"]:
    return np.einsum("m,mn->n", np.asarray(weights, dtype=np.float64), np.stack(parts))
