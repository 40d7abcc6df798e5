"""Intervals of the AUROC: clustered DeLong, the Hanley-McNeil score interval, and the wider of both.

No classical method covers for every score shape: DeLong is right from about 100 positives and too narrow below; the
score interval is safe for equal variances and fails for unequal ones at any size. Their envelope covers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import optimize, special

from chiron.metrics.estimate import Interval

METHOD = "wider of DeLong (logit) and Hanley-McNeil score"
CLUSTERED_METHOD = "wider of clustered DeLong (logit, t) and Hanley-McNeil score"


@dataclass(frozen=True)
class Placements:
    """The AUROC and, for each image, the share of the other side's images that it is ordered rightly against."""

    value: float
    of_positives: Float[np.ndarray, "positives"]
    of_negatives: Float[np.ndarray, "negatives"]
    positive_groups: Int[np.ndarray, "positives"]
    negative_groups: Int[np.ndarray, "negatives"]


def placements(
    positive: Bool[np.ndarray, "n"], y_score: Float[np.ndarray, "n"], group_index: Int[np.ndarray, "n"]
) -> Placements:
    """Structural components of the AUROC; there must be a positive and a negative image.

    Source: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595, by sorting instead of comparing all pairs.
    """
    of_positives = _share_below(y_score[positive], y_score[~positive])
    of_negatives = 1 - _share_below(y_score[~positive], y_score[positive])
    return Placements(
        float(of_positives.mean()), of_positives, of_negatives, group_index[positive], group_index[~positive]
    )


def delong_variance(placed: Placements) -> float:
    """Variance of the AUROC for independent images; NaN with fewer than two on a side.

    Source: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595.
    """
    if min(len(placed.of_positives), len(placed.of_negatives)) < 2:
        return float("nan")
    variance = placed.of_positives.var(ddof=1) / len(placed.of_positives)
    return float(variance + placed.of_negatives.var(ddof=1) / len(placed.of_negatives))


def obuchowski_variance(placed: Placements) -> float:
    """Variance of the AUROC when images come in groups; equal to DeLong's when every image is its own group.

    NaN with fewer than two groups on a side.

    Source: Obuchowski 1997, doi:10.2307/2533958.
    """
    num_groups = int(max(placed.positive_groups.max(), placed.negative_groups.max())) + 1
    positives = _sums_by_group(placed.of_positives - placed.value, placed.positive_groups, num_groups)
    negatives = _sums_by_group(placed.of_negatives - placed.value, placed.negative_groups, num_groups)
    with_positive, with_negative = _group_counts(placed)
    if min(with_positive, with_negative) < 2:
        return float("nan")
    in_use = len(np.union1d(placed.positive_groups, placed.negative_groups))
    num_positive, num_negative = len(placed.of_positives), len(placed.of_negatives)
    variance = with_positive / (with_positive - 1) * (positives**2).sum() / num_positive**2
    variance += with_negative / (with_negative - 1) * (negatives**2).sum() / num_negative**2
    variance += 2 * in_use / (in_use - 1) * (positives * negatives).sum() / (num_positive * num_negative)
    return float(variance)


def delong_logit_interval(placed: Placements, *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Clustered DeLong limits on the logit scale with t(min(positive, negative groups) - 1); None where undefined.

    Undefined at an AUROC of 0 or 1, without variance, and with fewer than two groups on a side.
    """
    variance = obuchowski_variance(placed)
    if not variance > 0 or not 0 < placed.value < 1:
        return None
    quantile = special.stdtrit(min(_group_counts(placed)) - 1, (1 + confidence) / 2)
    half = quantile * np.sqrt(variance) / (placed.value * (1 - placed.value))
    center = special.logit(placed.value)
    return float(special.expit(center - half)), float(special.expit(center + half))


def plain_delong_limits(placed: Placements, *, confidence: float = 0.95) -> tuple[float, float]:
    """DeLong's symmetric limits for independent images, cut to [0, 1]: on request only, too narrow near 1."""
    half = special.ndtri((1 + confidence) / 2) * np.sqrt(delong_variance(placed))
    return max(0.0, float(placed.value - half)), min(1.0, float(placed.value + half))


def score_interval(
    value: float, num_positive: float, num_negative: float, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Limits of the Hanley-McNeil score interval, never of width zero; numbers may be effective ones.

    The limits are the values t with (value - t)^2 = z^2 V(t), where
    V(t) = t (1 - t) [1 + (N - 1) ((1 - t) / (2 - t) + t / (1 + t))] / (positives negatives) and N is the mean of both.

    Source: Newcombe 2006, doi:10.1002/sim.2324, method 5.
    Example:
        >>> [round(limit, 3) for limit in score_interval(1.0, 10, 40)]
        [0.875, 1.0]
    """
    quantile = special.ndtri((1 + confidence) / 2)
    mean_number = (num_positive + num_negative) / 2

    def excess(limit: float) -> float:
        inner = 1 + (mean_number - 1) * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        variance = limit * (1 - limit) * inner / (num_positive * num_negative)
        return (value - limit) ** 2 - quantile**2 * variance

    # Each limit lies between the value, where the difference is 0, and the end of the range, where the variance is 0;
    # at a value of 0 or 1 both are 0, so the search stays just inside.
    inside = min(max(value, 1e-12), 1 - 1e-12)
    low = 0.0 if value <= 0 else optimize.brentq(excess, 0.0, inside, xtol=1e-14)
    high = 1.0 if value >= 1 else optimize.brentq(excess, inside, 1.0, xtol=1e-14)
    return float(low), float(high)


def effective_numbers(placed: Placements) -> tuple[float, float]:
    """Numbers of independent positives and negatives that would give the clustered variance, at most the true ones.

    Where there is no variance to compare (AUROC of 0 or 1) the images of a group are taken as fully alike.
    """
    num_positive, num_negative = len(placed.of_positives), len(placed.of_negatives)
    if _is_single(placed):
        return float(num_positive), float(num_negative)
    plain, clustered = delong_variance(placed), obuchowski_variance(placed)
    if not (plain > 0 and clustered > 0):
        return _alike_number(placed.positive_groups), _alike_number(placed.negative_groups)
    effect = max(1.0, clustered / plain)
    return max(1.0, num_positive / effect), max(1.0, num_negative / effect)


def auroc_interval(
    positive: Bool[np.ndarray, "n"],
    y_score: Float[np.ndarray, "n"],
    group_index: Int[np.ndarray, "n"],
    *,
    confidence: float = 0.95,
    plain: bool = False,
) -> Interval:
    """The wider of the clustered DeLong and the score limits on each side; never of width zero.

    Args:
        positive: true for an image of the class; both kinds must occur.
        group_index: number of each image's group.
        plain: DeLong's symmetric limits alone, which take every image for independent.
    """
    placed = placements(positive, y_score, group_index)
    if plain:
        return _plain_delong_interval(placed, confidence)
    method = METHOD if _is_single(placed) else CLUSTERED_METHOD
    low, high = score_interval(placed.value, *effective_numbers(placed), confidence=confidence)
    delong = delong_logit_interval(placed, confidence=confidence)
    if delong is None:
        return Interval(low, high, method, "score part alone: DeLong's variance is undefined here")
    return Interval(min(low, delong[0]), max(high, delong[1]), method)


def _plain_delong_interval(placed: Placements, confidence: float) -> Interval:
    method = "DeLong, as requested" if _is_single(placed) else "DeLong, as requested, groups not accounted for"
    low, high = plain_delong_limits(placed, confidence=confidence)
    if not high > low:  # also NaN
        return Interval(None, None, method, "DeLong's variance is 0 or undefined here")
    return Interval(low, high, method)


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of `others` below each score, equal ones half."""
    others = np.sort(others)
    return (np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")) / (2 * len(others))


def _sums_by_group(values: np.ndarray, groups: np.ndarray, num_groups: int) -> Float[np.ndarray, "groups"]:
    return np.bincount(groups, weights=values, minlength=num_groups)


def _group_counts(placed: Placements) -> tuple[int, int]:
    return len(np.unique(placed.positive_groups)), len(np.unique(placed.negative_groups))


def _is_single(placed: Placements) -> bool:
    groups = np.concatenate([placed.positive_groups, placed.negative_groups])
    return len(np.unique(groups)) == len(groups)


def _alike_number(groups: np.ndarray) -> float:
    sizes = np.bincount(groups).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())
