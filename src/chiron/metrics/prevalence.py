"""Predictive values at prevalences other than that of the data: sensitivity and specificity are taken to carry over."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

from chiron.core.errors import MetricError
from chiron.metrics.cases import BinaryLabels, check_scores, number_groups
from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.intervals.ratio import Rate, ratio_interval
from chiron.metrics.intervals.table import RULES, region_note
from chiron.metrics.metric import Family

METHOD = "logit, from the likelihood ratio"
CARRIED_OVER = "sensitivity and specificity of these data are taken to carry over"


@dataclass(frozen=True)
class PredictiveValues:
    """What a positive and a negative output mean where so large a share of cases is positive."""

    prevalence: float
    ppv: Estimate
    npv: Estimate


def predictive_values_at(
    y_score: Float[np.ndarray, "n"],
    positive: BinaryLabels,
    groups: Sequence[Hashable] | None,
    *,
    threshold: float,
    prevalences: Sequence[float],
    confidence: float = 0.95,
) -> list[PredictiveValues]:
    """PPV and NPV at each prevalence, which is taken as known, with limits.

    The odds of PPV are those of the prevalence times LR+, the odds of 1 - NPV those of the prevalence times LR-; so the
    limits follow from those of the likelihood ratios, with clusters and at the ends of their range too.

    Args:
        y_score: a case is called positive when its score is at least the threshold.
        positive: true for a case that is positive by the reference standard.
        groups: one id a case, equal for cases that are not independent; None: every case is its own group.
        prevalences: shares of positive cases between 0 and 1, both left out.
    Raises:
        MetricError: an array or a prevalence is not what it must be, or a kind of case is missing.
    Source: Mercaldo, Lau and Zhou 2007, doi:10.1002/sim.2677, the logit intervals.
    """
    is_positive, scores = check_scores(positive, y_score)
    _check(is_positive, prevalences)
    group_index = np.arange(len(scores)) if groups is None else number_groups(groups, len(scores))
    found = _Outcome(is_positive, scores >= threshold, group_index, groups is not None)
    called = found.ratio(of_called=True, confidence=confidence)
    not_called = found.ratio(of_called=False, confidence=confidence)
    return [
        PredictiveValues(
            prevalence,
            ppv=found.estimate(*called, special.logit(prevalence), sign=1, kind="positive"),
            npv=found.estimate(*not_called, special.logit(prevalence), sign=-1, kind="negative"),
        )
        for prevalence in prevalences
    ]


def _check(is_positive: np.ndarray, prevalences: Sequence[float]) -> None:
    if is_positive.all() or not is_positive.any():
        raise MetricError(
            f"Predictive values need positive and negative cases. Got {int(is_positive.sum())} positive of "
            f"{len(is_positive)}. Leave this question out."
        )
    if wrong := [value for value in prevalences if not 0 < value < 1]:
        raise MetricError(f"A prevalence must lie between 0 and 1. Got {wrong[0]}. Give a share, 0.05 for 5 %.")


@dataclass(frozen=True)
class _Outcome:
    """Which cases are positive and which are called so."""

    is_positive: np.ndarray
    is_called: np.ndarray
    group_index: np.ndarray
    groups_given: bool

    def ratio(self, *, of_called: bool, confidence: float) -> tuple[float, Interval]:
        """LR+ or LR-: the share of positive cases called (or not) over that of negative ones; NaN where both are 0."""
        counted = self.is_called == of_called
        inside, outside = (self._rate(counted & side, side) for side in (self.is_positive, ~self.is_positive))
        if inside.value == outside.value == 0:
            return float("nan"), Interval(None, None, METHOD)
        ratio = np.inf if outside.value == 0 else inside.value / outside.value
        return ratio, ratio_interval(inside, outside, confidence=confidence)

    def estimate(self, ratio: float, interval: Interval, logit: float, *, sign: int, kind: str) -> Estimate:
        """The share of right outputs: the logit of the prevalence plus log LR (`sign` 1), or minus both."""
        if np.isnan(ratio):
            return self._estimate(None, (None, None), METHOD, f"no case has a {kind} output")
        with np.errstate(divide="ignore"):
            value, *ends = (
                None if at is None else float(special.expit(sign * (logit + np.log(at))))
                for at in (ratio, interval.low, interval.high)
            )
        low, high = ends[::sign]
        return self._estimate(value, (low, high), f"{METHOD} ({interval.method})", interval.note)

    def _estimate(
        self, value: float | None, limits: tuple[float | None, float | None], method: str, note: str | None
    ) -> Estimate:
        sides = [len(np.unique(self.group_index[side])) for side in (self.is_positive, ~self.is_positive)]
        unit = "groups" if self.groups_given else "cases"
        region = region_note(RULES[Family.RATIO], min(sides), f"{unit} of the rarer kind")
        return Estimate(
            value=value,
            low=limits[0],
            high=limits[1],
            method=method if self.groups_given else f"{method}; every case its own group",
            num_images=len(self.is_positive),
            num_groups=len(np.unique(self.group_index)),
            num_positive_groups=sides[0],
            note="; ".join(text for text in (region, note, CARRIED_OVER) if text),
        )

    def _rate(self, success: np.ndarray, counted: np.ndarray) -> Rate:
        num_groups = int(self.group_index.max()) + 1
        return Rate(*(np.bincount(self.group_index[rows], minlength=num_groups) for rows in (success, counted)))
