"""From which score on the answer to a clinical question is yes: thresholds that keep a promise about sensitivity.

With P positive cases and their scores in order, s_1 the lowest, the share of future positives below s_j has the
distribution Beta(j, P + 1 - j). From that:

- `point`: the highest score that finds the share on these cases. Finds fewer of later ones more often than not.
- `expected`: the mean over fits of the sensitivity is at least the share asked for (conformal rank).
- `guaranteed`: at least 95 of 100 fits reach it (exact binomial bound).
- `youden`: the most of sensitivity + specificity - 1; promises nothing.

Positives that come in groups: `expected` counts as in `groups.py`, so that its promise is one about cases. `guaranteed`
takes the lowest score of each group: a group counts as found when all of its positives are.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from chiron.core.errors import DecisionError
from chiron.decide.groups import fewest_groups, group_numbers, group_sizes, num_missable
from chiron.spec.decision import FittedOn, Threshold, ThresholdRule

CONFIDENCE = 0.95  # of the rule guaranteed and of the threshold's own interval
FEWEST_POSITIVES = 10  # of the rules without a promise
_ROUNDING = 1e-9


class _Positives(NamedTuple):
    """Scores of the positive cases, lowest first, and the group of each."""

    scores: Float[np.ndarray, "positives"]
    group_index: Int[np.ndarray, "positives"]

    @property
    def sizes(self) -> Int[np.ndarray, "_groups"]:
        return group_sizes(self.group_index)


def fit_threshold(
    score: Float[np.ndarray, "n"],
    positive: Bool[np.ndarray, "n"],
    groups: Sequence[Hashable] | None,
    *,
    question: str,
    classes: Sequence[str],
    rule: ThresholdRule,
    sensitivity: float,
    fitted_on: FittedOn,
) -> Threshold:
    """The threshold of one question; a case is called positive at a score of its value and more.

    Args:
        score: sum of the calibrated probabilities of the question's classes, one a unit of the decision.
        groups: units of a group are not independent; None says that every unit is its own group.
        question, classes: carried into the result and into messages.
        sensitivity: the share of positives to find; `youden` does not use it.
    Raises:
        DecisionError: there are too few positives; the message says how many are needed.
    """
    index = group_numbers(groups, len(score))
    order = np.argsort(score[positive], kind="stable")
    positives = _Positives(score[positive][order].astype(np.float64), index[positive][order])
    num_groups = len(positives.sizes)
    needed = positives_needed(sensitivity, rule)
    place = None
    if num_groups >= needed and (rule != "youden" or not positive.all()):
        place = _youden(score, positive, positives) if rule == "youden" else _place(positives, rule, sensitivity)
    if place is None:
        raise DecisionError(_too_few(question, rule, sensitivity, needed, positives, len(score)))
    value = float(positives.scores[place])
    low, high = (None, None) if rule == "youden" else _limits(positives, value)
    return Threshold(
        question=question,
        classes=tuple(classes),
        rule=rule,
        sensitivity=None if rule == "youden" else sensitivity,
        value=value,
        low=low,
        high=high,
        num_found=int((positives.scores >= value).sum()),
        num_positive=len(positives.scores),
        num_groups=num_groups,
        fitted_on=fitted_on,
    )


def positives_needed(sensitivity: float, rule: ThresholdRule) -> int:
    """The least number of groups with a positive case from which a rule gives a threshold.

    Example:
        >>> positives_needed(0.95, "guaranteed"), positives_needed(0.95, "expected"), positives_needed(0.95, "point")
        (59, 19, 10)
    """
    if rule == "guaranteed":
        return int(np.ceil(np.log(1 - CONFIDENCE) / np.log(sensitivity) - _ROUNDING))
    return fewest_groups(1 - sensitivity) if rule == "expected" else FEWEST_POSITIVES


def _place(positives: _Positives, rule: ThresholdRule, sensitivity: float) -> int | None:
    """Place of the threshold among the positives' scores in order; None with too few of them."""
    miss, count = 1 - sensitivity, len(positives.scores)
    if rule == "point":
        return int(np.floor(miss * count + _ROUNDING))
    if rule == "expected":
        missed = num_missable(count, int(positives.sizes.max()), miss)
        return missed if missed >= 0 else None
    lowest = np.unique(positives.group_index, return_index=True)[1]  # scores are in order, so the first is the lowest
    at_least = stats.binom.sf(np.arange(len(lowest)), len(lowest), miss)  # that more than j of them lie below
    missed_groups = int((at_least >= CONFIDENCE).sum()) - 1
    return int(np.sort(lowest)[missed_groups]) if missed_groups >= 0 else None


def _youden(score: np.ndarray, positive: np.ndarray, positives: _Positives) -> int:
    """Place of the score with the most of sensitivity + specificity - 1, of equal ones the most sensitive."""
    negatives = np.sort(score[~positive])
    found = len(positives.scores) - np.searchsorted(positives.scores, positives.scores, side="left")
    spared = np.searchsorted(negatives, positives.scores, side="left")
    # Whole numbers, so that equal sums are equal.
    return int(np.argmax(found * len(negatives) + spared * len(positives.scores)))


def _limits(positives: _Positives, value: float) -> tuple[float | None, float | None]:
    """Order statistics around the quantile of positives' scores that a rule aims at; None where none lies beyond.

    With groups the ranks are those of the effective number of cases, cases / design effect of "lies below".
    Source: Woodruff 1952, doi:10.1080/01621459.1952.10483443.
    """
    scores = positives.scores
    count = len(scores)
    aim = (int((scores < value).sum()) + 1) / (count + 1)
    effective = max(1, int(count / _design_effect(positives, scores < value)))
    tail = (1 - CONFIDENCE) / 2
    ranks = stats.binom.ppf([tail, 1 - tail], effective, aim) + np.array([0, 1])  # 1 is the lowest score
    low, high = (ranks * count / effective).tolist()
    return (
        float(scores[int(low) - 1]) if low >= 1 else None,
        float(scores[int(np.ceil(high)) - 1]) if np.ceil(high) <= count else None,
    )


def _design_effect(positives: _Positives, below: Bool[np.ndarray, "positives"]) -> float:
    """How many times more a share varies than with independent cases, at least 1; the most there is at 0 and 1.

    Source: ratio estimator over clusters, Rao and Scott 1992, doi:10.2307/2532311.
    """
    count, num_groups = len(below), len(positives.sizes)
    share = below.mean()
    index = np.unique(positives.group_index, return_inverse=True)[1]
    totals = np.bincount(index)
    if share in (0.0, 1.0) or num_groups < 2:
        return float((totals.astype(np.float64) ** 2).sum() / count)
    residuals = np.bincount(index, weights=below) - share * totals
    clustered = num_groups / (num_groups - 1) * (residuals**2).sum() / count**2
    return max(1.0, float(clustered / (share * (1 - share) / count)))


def _too_few(
    question: str, rule: ThresholdRule, sensitivity: float, needed: int, positives: _Positives, num_cases: int
) -> str:
    count, num_groups = len(positives.scores), len(positives.sizes)
    if rule == "youden" and count == num_cases:
        return f"youden needs cases on both sides. Got positives alone for the question {question!r}. Add others."
    promise = f"{rule} at sensitivity {sensitivity:g}" if rule in ("expected", "guaranteed") else rule
    uneven = ", of about equal size" if num_groups >= needed else ""
    got = f"{num_groups} groups with {count} positives" if count > num_groups else f"{count}"
    return (
        f"A threshold by {promise} needs at least {needed} groups with a positive case{uneven}. Got {got} for the "
        f"question {question!r}. Add cases where it is fitted, ask for less, or take another rule."
    )
