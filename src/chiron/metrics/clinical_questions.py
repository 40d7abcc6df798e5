"""Clinical questions: what an answer of yes or no at a frozen threshold is worth, with intervals."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.decide.members import question_score
from chiron.metrics.abstention import distance_from_threshold, referral_table
from chiron.metrics.cases import Cases, check_cases
from chiron.metrics.estimator import Estimator
from chiron.metrics.means import rows_of
from chiron.metrics.metric import Basis, registered_metrics
from chiron.metrics.net_benefit import net_benefits_at
from chiron.metrics.prevalence import predictive_values_at
from chiron.spec.decision import Decision, Threshold

PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)  # beside the stated one
BENEFIT_AT = (0.01, 0.02, 0.05, *(round(0.1 * k, 1) for k in range(1, 10)))  # threshold probabilities
_YES = 1  # the place of yes among the two answers


def question_numbers(
    y_true: Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"],
    y_prob: Float[np.ndarray, "n classes"],
    *,
    decision: Decision,
    classes: tuple[str, ...],
    positive: str | None,
    groups: Sequence[Hashable] | None,
    prevalences: Mapping[str, float],
    num_resamples: int,
    confidence: float,
) -> dict[str, dict[str, Any]]:
    """Every number of each question of the decision, at its threshold or by the most probable class.

    Args:
        y_true: place of the reference label; of several labels 1, 0 or NaN a class.
        positive: of two classes the one that is a question by itself.
        groups: one id a row, as for `evaluate`.
        prevalences: share of positive cases where the classifier is meant to be used, of questions or of their classes.
    Returns:
        question -> counts, estimates, the threshold with what it promised, and how many of 1,000 are found.
    """
    several = y_true.ndim == 2
    numbers = {}
    for question, of in decision.asked_of(classes, positive, several=several).items():
        threshold = decision.threshold_of(question)
        score = question_score(y_prob, of, classes)
        called = np.isin(y_prob.argmax(axis=1), [classes.index(name) for name in of])
        answer = called if threshold is None else score >= threshold.value
        known, present = _reference(y_true, of, classes)
        if not known.any():  # of several labels: nobody was assessed, which the numbers by class say
            continue
        own = None if groups is None else [group for group, counts in zip(groups, known, strict=True) if counts]
        cases = _cases(present[known], score[known], answer[known], own)
        how: dict[str, Any] = {"num_resamples": num_resamples, "confidence": confidence, "seed": 0}
        estimator = Estimator(cases, registered_metrics(), **how)
        told = {"classes": list(of), **_told(estimator), "threshold": _promise(threshold), "referral": None}
        stated = _stated(question, of, prevalences)
        told["at_prevalence"] = _at_prevalence(cases, own, stated, confidence)
        told["net_benefit"], told["net_benefit_at_prevalence"] = [], []
        if decision.calibration.method != "none" and 0 < present[known].sum() < known.sum():
            told |= _net_benefits(score[known], present[known], own, stated, how)
        if threshold is not None:
            rows = rows_of(own, cases.num_images, **how)
            sure = distance_from_threshold(score[known], threshold.value)
            table = referral_table(sure, answer[known] != present[known], rows, positive=present[known])
            told["referral"] = [asdict(row) for row in table]
        numbers[question] = told
    return numbers


def _stated(question: str, of: tuple[str, ...], prevalences: Mapping[str, float]) -> float | None:
    """The prevalence of the question itself, or the sum of those of its classes where all are stated."""
    if question in prevalences:
        return prevalences[question]
    return sum(prevalences[name] for name in of) if all(name in prevalences for name in of) else None


def _at_prevalence(
    cases: Cases, groups: Sequence[Hashable] | None, stated: float | None, confidence: float
) -> list[dict[str, Any]]:
    """PPV and NPV of the answers where the condition is rarer or commoner; none without cases of both kinds."""
    present = cases.y_true == _YES
    if not 0 < present.sum() < len(present):
        return []
    shares = _shares(stated)
    found = predictive_values_at(
        (cases.y_pred == _YES).astype(np.float64),
        present,
        groups,
        threshold=0.5,
        prevalences=shares,
        confidence=confidence,
    )
    return [{**asdict(it), "stated": it.prevalence == stated} for it in found]


def _shares(stated: float | None) -> list[float]:
    return sorted({*PREVALENCES, stated} if stated is not None and 0 < stated < 1 else PREVALENCES)


def _net_benefits(
    score: Float[np.ndarray, "n"],
    present: Bool[np.ndarray, "n"],
    groups: Sequence[Hashable] | None,
    stated: float | None,
    how: Mapping[str, Any],
) -> dict[str, Any]:
    """The decision curve of these data, and those where the condition is rarer or commoner."""
    shares = _shares(stated)
    own, *others = net_benefits_at(score, present, groups, thresholds=BENEFIT_AT, prevalences=[None, *shares], **how)
    return {
        "net_benefit": [asdict(point) for point in own],
        "net_benefit_at_prevalence": [
            {"prevalence": share, "stated": share == stated, "points": [asdict(point) for point in curve]}
            for share, curve in zip(shares, others, strict=True)
        ],
    }


def _reference(
    y_true: np.ndarray, of: tuple[str, ...], classes: tuple[str, ...]
) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Which rows have a reference answer, and whether it is yes."""
    places = [classes.index(name) for name in of]
    if y_true.ndim == 1:
        return np.ones(len(y_true), dtype=bool), np.isin(y_true, places)
    own = y_true[:, places[0]]  # of several labels each question is one class
    return ~np.isnan(own), own == 1


def _cases(present: np.ndarray, score: np.ndarray, answer: np.ndarray, groups: Sequence[Hashable] | None) -> Cases:
    cases = check_cases(
        present.astype(np.int64),
        np.stack([1 - score, score], axis=1),
        classes=("no", "yes"),
        positive="yes",
        groups=groups,
    )
    return replace(cases, y_pred=answer.astype(np.int64))


def _told(estimator: Estimator) -> dict[str, Any]:
    """Counts, every metric of one class that needs no calibration, and what they come to in 1,000 like these."""
    cases = estimator.cases
    yes, told_yes = cases.y_true == _YES, cases.y_pred == _YES
    counts = {
        "found": int((yes & told_yes).sum()),
        "missed": int((yes & ~told_yes).sum()),
        "false_alarms": int((~yes & told_yes).sum()),
        "rightly_negative": int((~yes & ~told_yes).sum()),
    }
    estimates = {
        metric.positive_key or metric.key: asdict(estimator.one_class(metric, _YES))
        for metric in registered_metrics().values()
        if metric.basis in (Basis.COUNTS, Basis.RANKS)
    }
    per_1000 = {name: 1000 * count / cases.num_images for name, count in counts.items()}
    return {"counts": counts, "prevalence": float(yes.mean()), **estimates, "per_1000": per_1000}


def _promise(threshold: Threshold | None) -> dict[str, Any] | None:
    """The frozen threshold and what it reached where it was fitted; None where the most probable class decides."""
    if threshold is None:
        return None
    stated = threshold.model_dump(mode="json", exclude={"question", "classes"})
    return {**stated, "found_when_fitted": threshold.num_found / threshold.num_positive}
