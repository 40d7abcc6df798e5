"""What the decision of a bundle is worth on a table: questions, calibration, prediction sets, referral."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from chiron.data.predictions import Predictions, member_column_sets, member_scores, score_kind
from chiron.data.units import Units
from chiron.decide.members import sets_of
from chiron.metrics.abstention import risk_coverage
from chiron.metrics.calibration_fit import calibration_fit
from chiron.metrics.clinical_questions import question_numbers
from chiron.metrics.means import rows_of
from chiron.metrics.prediction_sets import evaluate_prediction_sets
from chiron.spec.decision import Calibration, Decision
from chiron.spec.recipe import EvaluateRecipe
from chiron.workflows.decision import values_of


def unit_facts(units: Units, decision: Decision, images: Predictions) -> dict[str, Any]:
    """What one answer is for, how images make it, and whether that is what was calibrated."""
    fitted = images.decision
    other = decision.unit != fitted.unit and fitted.calibration.method != "none"
    return {
        "name": decision.unit,
        "num_units": units.predictions.scored.height,
        "num_images": images.scored.height,
        "num_without_id": units.num_blank,
        "combine": decision.combine,
        "label_rule": decision.unit_label,
        "note": f"calibration and thresholds were fitted for the {fitted.unit}" if other else None,
    }


def questions_told(
    predictions: Predictions, settings: EvaluateRecipe, prevalences: Mapping[str, float]
) -> dict[str, Any]:
    """Every clinical question of the decision at its frozen threshold.

    Args:
        prevalences: share of positive cases where the classifier is meant to be used, by class or question.
    """
    return question_numbers(
        predictions.y_true,
        predictions.y_prob,
        decision=predictions.decision,
        classes=predictions.classes,
        positive=predictions.positive,
        groups=predictions.groups,
        prevalences=prevalences,
        num_resamples=settings.num_resamples,
        confidence=settings.confidence,
    )


def calibration_told(predictions: Predictions, settings: EvaluateRecipe) -> dict[str, Any]:
    """What calibrated the probabilities and where, and how right they are here: in the large, intercept and slope.

    `before` tells the same of the network's own probabilities, after a recalibration of those that the bundle came
    with; None where nothing was calibrated.
    """
    found, again = predictions.decision.calibration, predictions.facts.get("recalibration")
    before = None
    if again is not None:
        before = _fits(predictions.with_facts(decision=again["former_decision"]), settings)
    elif found.method != "none" and score_kind(predictions.frame, predictions.classes) == "logit":
        before = _fits(_uncalibrated(predictions), settings)
    return {
        "method": found.method,
        "fitted_on": found.fitted_on,
        "num_units": found.num_units,
        "num_groups": found.num_groups,
        "num_members": _num_members(predictions),
        "before": before,
        "by_class": _fits(predictions, settings),
    }


def _fits(predictions: Predictions, settings: EvaluateRecipe) -> dict[str, Any]:
    fits = calibration_fit(
        predictions.y_true,
        predictions.y_prob,
        classes=predictions.classes,
        positive=predictions.positive,
        groups=predictions.groups,
        confidence=settings.confidence,
    )
    return {name: asdict(fit) for name, fit in fits.items()}


def _uncalibrated(predictions: Predictions) -> Predictions:
    """The same table with the networks' own probabilities."""
    own = predictions.decision.model_copy(update={"calibration": Calibration()})
    return predictions.with_facts(decision=own.model_dump(mode="json"))


def _num_members(predictions: Predictions) -> int:
    """Networks whose mean answers; of probabilities from elsewhere one."""
    return max(1, len(member_column_sets(predictions.frame, predictions.classes)))


def sets_told(predictions: Predictions, settings: EvaluateRecipe) -> dict[str, Any] | None:
    """Prediction sets: what was promised, and their coverage and sizes here; None without them."""
    conformal = predictions.decision.conformal
    if conformal is None or score_kind(predictions.frame, predictions.classes) != "logit":
        return None
    said = conformal.model_dump(mode="json", exclude={"member_scores"})
    by_values = values_of(predictions, conformal.by)
    logits = member_scores(predictions.scored, predictions.classes)
    sets = sets_of(logits, predictions.decision, predictions.classes, by_values=by_values)
    if sets is None:
        return said | {"found": None, "note": f"the table has no column {conformal.by}"}
    found = evaluate_prediction_sets(
        sets,
        predictions.y_true,
        predictions.groups,
        classes=predictions.classes,
        by_values=by_values,
        num_resamples=settings.num_resamples,
        confidence=settings.confidence,
    )
    return said | {"found": asdict(found), "note": None}


def abstention_told(predictions: Predictions, settings: EvaluateRecipe) -> dict[str, Any] | None:
    """Errors among the cases that are answered when the least sure ones are not; None of several labels an image."""
    if predictions.is_multi_label:
        return None
    probs, y_true = predictions.y_prob, predictions.y_true
    how: dict[str, Any] = {"num_resamples": settings.num_resamples, "confidence": settings.confidence, "seed": 0}
    rows = rows_of(predictions.groups, len(y_true), **how)
    curve = risk_coverage(probs.max(axis=1), np.asarray(probs.argmax(axis=1) != y_true), rows)
    return {"area": asdict(curve.area), "coverage": curve.coverage.tolist(), "risk": curve.risk.tolist()}
