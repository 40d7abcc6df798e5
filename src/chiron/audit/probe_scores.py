"""How well a matrix of simple features tells the classes apart: out-of-fold scores, AUROC, p-value.

The model is ridge regression of the class indicators: one solution, no random start, and only the order of its scores
counts. Scores of different fold models are never compared: the AUROC is the share of all pairs inside a fold that are
in order, which is the mean of the folds' AUROCs, each as heavy as it has pairs. (Pooled scores can lie far from any
model's AUROC, on noise far below one half; ranks inside folds, pooled, break the ties of a property of two values.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special, stats
from sklearn.model_selection import StratifiedGroupKFold

from chiron.metrics.estimate import Interval
from chiron.metrics.intervals.auroc import (
    CLUSTERED_METHOD,
    Placements,
    delong_logit_interval,
    effective_numbers,
    obuchowski_variance,
    placements,
    score_interval,
)

NUM_PERMUTATIONS = 200
GROUPS_IN_A_BIN = 8  # at least so many groups of neighboring size exchange their labels
MIN_MOVED = 0.5  # of the labels that a permutation without bins would change
PENALTY = 10.0  # as if ten further rows in every bin showed the average class


@dataclass(frozen=True)
class Targets:
    """What is to be told apart: for each class whether a row is of it, and where that is known.

    `tested` are the classes with enough groups on both sides; of two that exclude each other only the second is tested,
    as the other's AUROC is the same number.
    """

    names: tuple[str, ...]
    positive: Bool[np.ndarray, "n classes"]
    known: Bool[np.ndarray, "n classes"]
    group_index: Int[np.ndarray, "n"]
    fold: Int[np.ndarray, "n"]
    tested: tuple[int, ...]
    is_multi_label: bool = False

    @property
    def is_one_question(self) -> bool:
        """Whether there are two classes that exclude each other, so that one AUROC tells both."""
        return len(self.names) == 2 and not self.is_multi_label


def grouped_folds(
    strata: Int[np.ndarray, "n"], group_index: Int[np.ndarray, "n"], *, folds: int = 5, seed: int = 0
) -> Int[np.ndarray, "n"]:
    """The fold of every row: whole groups, classes in about equal shares, the same for the same rows in any run.

    Classes with fewer rows than folds are dealt like the most frequent one.
    """
    counts = np.bincount(strata)
    strata = np.where(counts[strata] < folds, counts.argmax(), strata)
    dealer = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold = np.zeros(len(strata), dtype=np.int64)
    for number, (_, held_out) in enumerate(dealer.split(strata, strata, group_index)):
        fold[held_out] = number
    return fold


def cross_fitted(
    features: Float[np.ndarray, "n _columns"], wanted: Float[np.ndarray, "n targets"], fold: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n targets"]:
    """For each target the score of every row by the model of the other folds."""
    scores = np.empty(wanted.shape)
    for number in np.unique(fold):
        held_out = fold == number
        scores[held_out] = _ridge(features[~held_out], wanted[~held_out], features[held_out])
    return np.round(scores, 9)  # scores that differ by rounding alone are equal


def _ridge(
    features: Float[np.ndarray, "fitted columns"],
    wanted: Float[np.ndarray, "fitted classes"],
    others: Float[np.ndarray, "scored columns"],
) -> Float[np.ndarray, "scored classes"]:
    """Scores of `others` by ridge regression with an intercept that is not penalized."""
    middle = features.mean(axis=0)
    centered = features - middle
    gram = centered.T @ centered + PENALTY * np.eye(features.shape[1])
    average = wanted.mean(axis=0)
    return average + (others - middle) @ np.linalg.solve(gram, centered.T @ (wanted - average))


@dataclass(frozen=True)
class Scored:
    """Rows of one class against the others, compared inside folds.

    `is_discrete` where nearly all scores are tied, as those of a property of few values are: the Hanley-McNeil part of
    the usual interval takes scores without ties for granted and is several times too wide then, so that the clustered
    DeLong part stands alone.
    """

    placed: Placements
    is_discrete: bool = False

    @classmethod
    def of(
        cls,
        positive: Bool[np.ndarray, "n"],
        y_score: Float[np.ndarray, "n"],
        group_index: Int[np.ndarray, "n"],
        fold: Int[np.ndarray, "n"],
        *,
        is_discrete: bool = False,
    ) -> "Scored":
        """The AUROC inside folds, with the part that each row has in it; a fold without both sides has no pairs."""
        parts = []
        for number in np.unique(fold):
            inside = fold == number
            if 0 < positive[inside].sum() < inside.sum():
                parts.append(placements(positive[inside], y_score[inside], group_index[inside]))
        pairs = np.array([len(part.of_positives) * len(part.of_negatives) for part in parts], dtype=np.float64)
        weights = pairs / pairs.sum()
        value = round(float(weights @ [part.value for part in parts]), 12)  # a perfect order is exactly 1
        sides = []
        for side in ("of_positives", "of_negatives"):
            total = sum(len(getattr(part, side)) for part in parts)
            moves = [
                weight * total / len(getattr(part, side)) * (getattr(part, side) - part.value)
                for weight, part in zip(weights, parts, strict=True)
            ]
            sides.append(value + np.concatenate(moves))
        groups = [np.concatenate([getattr(p, name) for p in parts]) for name in ("positive_groups", "negative_groups")]
        return cls(Placements(value, *sides, *groups), is_discrete)

    @property
    def value(self) -> float:
        """The AUROC."""
        return self.placed.value

    def interval(self, *, confidence: float = 0.95) -> Interval:
        """Its interval."""
        delong = delong_logit_interval(self.placed, confidence=confidence)
        if delong is not None and self.is_discrete:
            return Interval(*delong, "clustered DeLong (logit, t)")
        low, high = score_interval(self.value, *effective_numbers(self.placed), confidence=confidence)
        if delong is None:
            return Interval(low, high, CLUSTERED_METHOD, "score part alone: DeLong's variance is undefined here")
        return Interval(min(low, delong[0]), max(high, delong[1]), CLUSTERED_METHOD)


def auroc_p_value(scored: Scored) -> float:
    """Two-sided p-value of an AUROC above one half; 1 where it is not above.

    It is the smallest alpha at which the lower limit of the interval with confidence 1 - alpha lies above one half, so
    that test and interval never disagree: the larger of the p-values of the interval's two parts.
    """
    placed = scored.placed
    if placed.value <= 0.5:
        return 1.0
    variance = obuchowski_variance(placed)
    by_delong = None
    if variance > 0 and placed.value < 1:
        error = np.sqrt(variance) / (placed.value * (1 - placed.value))
        degrees = min(len(np.unique(placed.positive_groups)), len(np.unique(placed.negative_groups))) - 1
        by_delong = float(2 * special.stdtr(degrees, -special.logit(placed.value) / error))
        if scored.is_discrete:
            return by_delong
    num_positive, num_negative = effective_numbers(placed)
    # Hanley and McNeil's variance at one half: both ratios in it are 1/3.
    null_variance = 0.25 * (1 + ((num_positive + num_negative) / 2 - 1) * 2 / 3) / (num_positive * num_negative)
    by_score = float(2 * special.ndtr(-(placed.value - 0.5) / np.sqrt(null_variance)))
    return by_score if by_delong is None else max(by_score, by_delong)


def scored_class(
    features: Float[np.ndarray, "n _columns"], targets: Targets, k: int, *, is_discrete: bool = False
) -> Scored:
    """Class k against the others, on the rows where it is known."""
    known = targets.known[:, k]
    positive, fold = targets.positive[known, k], targets.fold[known]
    scores = cross_fitted(features[known], positive[:, None].astype(np.float64), fold)[:, 0]
    return Scored.of(positive, scores, targets.group_index[known], fold, is_discrete=is_discrete)


def permutation_p_value(
    value: float, features: Float[np.ndarray, "n _columns"], targets: Targets, k: int, *, seed: int
) -> float | None:
    """Two-sided p-value of an AUROC of class k when labels are dealt anew to the groups and all folds fitted again.

    The interval takes the folds for independent. Without any signal they are not: what one fold's labels teach by
    chance is tested on labels that taught the same, so that AUROCs far above one half come more often than it says.
    Groups exchange their labels with groups of about as many images. The tail is that of a Pearson type III
    distribution with the mean, deviation and skewness of the permuted values.

    None where too few labels can move, as when the size of a group tells its class: permuted labels would still be the
    true ones, and their AUROCs no picture of chance.

    Source: Winkler et al. 2016, doi:10.1016/j.neuroimage.2016.05.068 (tail of few permutations).
    """
    known = targets.known[:, k]
    fold = targets.fold[known]
    rng = np.random.default_rng(seed)
    positive = targets.positive[known, k]
    dealt = permuted_labels(positive, targets.group_index[known], NUM_PERMUTATIONS, rng)
    if (dealt != positive[:, None]).mean() < MIN_MOVED * 2 * positive.mean() * (1 - positive.mean()):
        return None
    by_chance = _aurocs_in_folds(dealt, cross_fitted(features[known], dealt.astype(np.float64), fold), fold)
    deviation = by_chance.std(ddof=1)
    if not deviation > 0:
        return 1.0
    skewness = max(0.0, float(stats.skew(by_chance)))
    return float(min(1.0, 2 * stats.pearson3.sf((value - by_chance.mean()) / deviation, skewness)))


def permuted_labels(
    positive: Bool[np.ndarray, "n"], group_index: Int[np.ndarray, "n"], count: int, rng: np.random.Generator
) -> Bool[np.ndarray, "n _count"]:
    """`count` columns of labels in which whole groups have exchanged theirs with groups of neighboring size.

    Between groups of equal size every image gives its label to one image; between others the labels are spread out or
    thinned, in their order, so that a group of one class stays of one class.
    """
    order = np.argsort(group_index, kind="stable")
    sizes = np.unique(group_index, return_counts=True)[1]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    bin_of_group = _size_bins(sizes)
    dealt = np.empty((len(positive), count), dtype=bool)
    for number in np.unique(bin_of_group):
        groups = np.flatnonzero(bin_of_group == number)
        drawn = rng.permuted(np.tile(np.arange(len(groups)), (count, 1)), axis=1).T
        for group, givers in zip(groups, groups[drawn], strict=True):
            size = sizes[group]
            place = (2 * np.arange(size)[:, None] + 1) * sizes[givers] // (2 * size)
            rows = order[starts[group] : starts[group] + size]
            dealt[rows] = positive[order[starts[givers] + place]]
    return dealt


def _size_bins(sizes: Int[np.ndarray, "groups"]) -> Int[np.ndarray, "groups"]:
    """A bin for every group: equal sizes together, neighboring sizes joined until a bin holds enough groups."""
    of_size, found, held = {}, 0, 0
    for size, num_groups in zip(*np.unique(sizes, return_counts=True), strict=True):
        of_size[int(size)] = found
        held += int(num_groups)
        if held >= GROUPS_IN_A_BIN:
            found, held = found + 1, 0
    last = max(found - 1, 0)  # too few large groups join the bin below
    return np.array([min(of_size[int(size)], last) for size in sizes], dtype=np.int64)


def _aurocs_in_folds(
    positive: Bool[np.ndarray, "n count"], scores: Float[np.ndarray, "n count"], fold: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "count"]:
    """The share of pairs inside folds that are in order, column by column; ties count half."""
    in_order, pairs = np.zeros(positive.shape[1]), np.zeros(positive.shape[1])
    for number in np.unique(fold):
        inside = fold == number
        rank = stats.rankdata(scores[inside], axis=0)
        num_positive = positive[inside].sum(axis=0)
        in_order += (rank * positive[inside]).sum(axis=0) - num_positive * (num_positive + 1) / 2
        pairs += num_positive * (inside.sum() - num_positive)
    return np.where(pairs > 0, in_order / np.maximum(pairs, 1), 0.5)


def mean_auroc(parts: Sequence[Scored]) -> tuple[float, Interval]:
    """The mean of the classes' AUROC and its 95 % interval.

    The standard error of a mean comes from how far each group moves it (DeLong's components, summed over classes inside
    a group), on the logit scale with t and the groups of the rarest class.
    """
    if len(parts) == 1:
        return parts[0].value, parts[0].interval()
    num_groups = 1 + max(
        int(groups.max()) for part in parts for groups in (part.placed.positive_groups, part.placed.negative_groups)
    )
    moves, values, fewest = np.zeros(num_groups), [], num_groups
    for part in parts:
        placed = part.placed
        values.append(placed.value)
        for of_side, side_groups in (
            (placed.of_positives, placed.positive_groups),
            (placed.of_negatives, placed.negative_groups),
        ):
            moves += np.bincount(side_groups, (of_side - placed.value) / len(of_side), minlength=num_groups)
            fewest = min(fewest, len(np.unique(side_groups)))
    value = float(np.mean(values))
    method = "mean of clustered DeLong, logit t"
    if not 0 < value < 1:
        return value, Interval(None, None, method, "the value lies at the end of its range")
    error = np.sqrt(num_groups / (num_groups - 1) * (moves**2).sum()) / len(parts)
    half = special.stdtrit(fewest - 1, 0.975) * error / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half]))
    return value, Interval(float(low), float(high), method)


@dataclass(frozen=True)
class ClassAuroc:
    """One class against the others: AUROC with its 95 % interval, and what is left of it in a family of tests."""

    name: str
    value: float
    low: float | None
    high: float | None
    p_value: float
    adjusted_p: float = 1.0
    low_adjusted: float | None = None


def class_auroc(name: str, scored: Scored) -> ClassAuroc:
    """The AUROC of one class, as if it were the only test."""
    interval, p_value = scored.interval(), auroc_p_value(scored)
    return ClassAuroc(name, scored.value, interval.low, interval.high, p_value, p_value, interval.low)
