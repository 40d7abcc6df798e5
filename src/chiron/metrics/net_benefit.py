"""Net benefit and decision curves: what acting on a model gains over acting on everyone and on no one."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from chiron.core.errors import MetricError
from chiron.metrics.cases import BinaryLabels, check_scores, number_groups
from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.intervals.bootstrap import bootstrap_interval, left_out_weights, resampled_weights
from chiron.metrics.intervals.table import RULES, region_note
from chiron.metrics.metric import Family


@dataclass(frozen=True)
class NetBenefit:
    """Net benefit at one threshold probability, in true positives a case; that of treating no one is 0.

    `over_default` is the model's less the larger one of treating all and treating none, paired by case.
    """

    threshold: float
    model: Estimate
    treat_all: Estimate
    over_default: Estimate
    treat_none: float = 0.0


def net_benefits(
    y_prob: Float[np.ndarray, "n"],
    positive: BinaryLabels,
    groups: Sequence[Hashable] | None,
    *,
    thresholds: Sequence[float],
    prevalence: float | None = None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[NetBenefit]:
    """Net benefit at each threshold probability t: TP / n - FP / n x t / (1 - t) (more is better).

    At a stated prevalence the shares are prevalence x sensitivity and (1 - prevalence) x (1 - specificity).
    Limits by the cluster bootstrap, one set of resamples for all thresholds.

    Args:
        prevalence: of the population meant; None: that of these cases.
        y_prob, positive, groups, thresholds, num_resamples, confidence, seed: as for `net_benefits_at`.
    Raises:
        MetricError: an array, a threshold or the prevalence is not what it must be, or a kind of case is missing.
    Source: Vickers and Elkin 2006, doi:10.1177/0272989X06295361; at a stated prevalence the same with both rates.
    """
    how: dict[str, Any] = {"num_resamples": num_resamples, "confidence": confidence, "seed": seed}
    return net_benefits_at(y_prob, positive, groups, thresholds=thresholds, prevalences=[prevalence], **how)[0]


def net_benefits_at(
    y_prob: Float[np.ndarray, "n"],
    positive: BinaryLabels,
    groups: Sequence[Hashable] | None,
    *,
    thresholds: Sequence[float],
    prevalences: Sequence[float | None],
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[list[NetBenefit]]:
    """A curve of `net_benefits` at each prevalence, from one set of resamples for all.

    Args:
        y_prob: calibrated probability of being positive; a case is treated at the threshold and above.
        positive: true for a case that is positive by the reference standard.
        groups: one id a case, equal for cases that are not independent; None: every case is its own group.
        thresholds: between 0 and 1, both left out; a range of them gives a decision curve.
        prevalences: of the populations meant; None: that of these cases.
    Raises:
        MetricError: as for `net_benefits`.
    """
    is_positive, scores = check_scores(positive, y_prob)
    _check(is_positive, thresholds, prevalences)
    group_index = np.arange(len(scores)) if groups is None else number_groups(groups, len(scores))
    curve = _Curve(is_positive, scores, group_index, np.asarray(thresholds, dtype=np.float64), prevalences)
    sizes = {"num_rows": len(scores), "seed": seed}
    drawn = resampled_weights(curve.num_groups, num_resamples, **sizes)
    resampled = np.concatenate([curve(block) for block in drawn], axis=3)
    left_out = np.concatenate([curve(block) for block in left_out_weights(curve.num_groups, **sizes)], axis=3)
    values = curve(np.ones((curve.num_groups, 1), dtype=np.int32))[..., 0]
    told = _Told(is_positive, group_index, groups is not None, confidence)
    found: list[list[NetBenefit]] = []
    for p, prevalence in enumerate(prevalences):
        found.append([])
        for t, threshold in enumerate(thresholds):
            places = [(p, kind, t) for kind in range(3)]
            model, treat_all, over = (told.estimate(values[at], resampled[at], left_out[at]) for at in places)
            if prevalence is not None:
                treat_all = replace(treat_all, method="by definition", note="known, as the prevalence is stated")
            found[p].append(NetBenefit(threshold, model, treat_all, over))
    return found


def _check(is_positive: np.ndarray, thresholds: Sequence[float], prevalences: Sequence[float | None]) -> None:
    if is_positive.all() or not is_positive.any():
        raise MetricError(
            f"Net benefit needs positive and negative cases. Got {int(is_positive.sum())} positive of "
            f"{len(is_positive)}. Leave this question out."
        )
    if wrong := [value for value in thresholds if not 0 < value < 1]:
        raise MetricError(
            f"A threshold probability must lie between 0 and 1. Got {wrong[0]}. Give the probability from which on one "
            "would treat."
        )
    if outside := [value for value in prevalences if value is not None and not 0 < value < 1]:
        raise MetricError(f"A prevalence must lie between 0 and 1. Got {outside[0]}. Give a share, 0.05 for 5 %.")


class _Curve:
    """True and false positives of every group at every threshold, summed for any weights of the groups."""

    def __init__(
        self,
        is_positive: Bool[np.ndarray, "n"],
        y_prob: Float[np.ndarray, "n"],
        group_index: Int[np.ndarray, "n"],
        thresholds: Float[np.ndarray, "thresholds"],
        prevalences: Sequence[float | None],
    ) -> None:
        self.num_groups = int(group_index.max()) + 1
        self._odds = (thresholds / (1 - thresholds))[:, np.newaxis]
        self._prevalences = prevalences
        ascending = np.argsort(thresholds)
        self._place = np.argsort(ascending)
        reached = np.searchsorted(thresholds[ascending], y_prob, side="right")  # thresholds that the case reaches
        self._tp, self._fp = (
            self._sums(reached[side], group_index[side], len(thresholds)) for side in (is_positive, ~is_positive)
        )

    def __call__(
        self, weights: Int[np.ndarray, "groups resamples"]
    ) -> Float[np.ndarray, "prevalences 3 thresholds resamples"]:
        """Net benefit of the model, of treating all, and of the model over the better one of all and none."""
        (tp, num_positive), (fp, num_negative) = (self._reached(sums, weights) for sums in (self._tp, self._fp))
        num_cases = num_positive + num_negative
        with np.errstate(divide="ignore", invalid="ignore"):  # resamples without a kind of case are NaN
            rates = tp / num_positive, fp / num_negative
            own = self._curves(num_positive / num_cases, tp / num_cases, fp / num_cases)
        has_both = (num_positive > 0) & (num_negative > 0)
        curves = []
        for prevalence in self._prevalences:
            if prevalence is None:
                curves.append(own)
                continue
            share = np.where(has_both, prevalence, np.nan)
            curves.append(self._curves(share, share * rates[0], (1 - share) * rates[1]))
        return np.stack(curves)

    def _curves(
        self,
        share: Float[np.ndarray, "resamples"],
        found: Float[np.ndarray, "thresholds resamples"],
        alarmed: Float[np.ndarray, "thresholds resamples"],
    ) -> Float[np.ndarray, "3 thresholds resamples"]:
        """From the shares of cases that are positive, that are found, and that are false alarms."""
        model, treat_all = found - alarmed * self._odds, share - (1 - share) * self._odds
        return np.stack([model, treat_all, model - np.maximum(treat_all, 0)])

    def _sums(self, reached: np.ndarray, groups: np.ndarray, num_thresholds: int) -> sparse.csr_array:
        ones = np.ones(len(reached), dtype=np.int64)
        return sparse.csr_array((ones, (reached, groups)), shape=(num_thresholds + 1, self.num_groups))

    def _reached(self, sums: sparse.csr_array, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cases that reach each threshold, and all cases."""
        at_least = np.cumsum((sums @ weights)[::-1], axis=0)[::-1]
        return at_least[1:][self._place], at_least[0]


@dataclass(frozen=True)
class _Told:
    """What an estimate says of its cases."""

    is_positive: np.ndarray
    group_index: np.ndarray
    groups_given: bool
    confidence: float

    def estimate(self, value: float, resampled: np.ndarray, left_out: np.ndarray) -> Estimate:
        """One net benefit with its limits; without a scale where BCa is undefined, as it may be below 0."""
        groups = [len(np.unique(self.group_index[side])) for side in (self.is_positive, ~self.is_positive)]
        num_groups = len(np.unique(self.group_index))
        interval = bootstrap_interval(
            float(value),
            resampled,
            left_out,
            degrees_of_freedom=min(groups) - 1,
            lower_bound=-np.inf,
            upper_bound=np.inf,
            confidence=self.confidence,
            method="bootstrap" if num_groups == len(self.group_index) else "cluster bootstrap",
        )
        return self._with_sizes(float(value), interval, groups, num_groups)

    def _with_sizes(self, value: float, interval: Interval, groups: list[int], num_groups: int) -> Estimate:
        unit = "groups" if self.groups_given else "cases"
        region = region_note(RULES[Family.RESAMPLED], min(groups), f"{unit} of the rarer kind")
        return Estimate(
            value=value,
            low=interval.low,
            high=interval.high,
            method=interval.method if self.groups_given else f"{interval.method}; every case its own group",
            num_images=len(self.group_index),
            num_groups=num_groups,
            num_positive_groups=groups[0],
            note="; ".join(text for text in (region, interval.note) if text) or None,
        )
