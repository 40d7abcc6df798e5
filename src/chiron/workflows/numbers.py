"""Every number of an evaluation, computed from a table of predictions alone."""

from dataclasses import replace
from typing import Any

from chiron.core.errors import DataError
from chiron.data.predictions import Predictions
from chiron.data.units import at_unit
from chiron.metrics.evaluation import evaluate as evaluate_arrays
from chiron.metrics.multi_label import evaluate_multi_label
from chiron.spec.recipe import EvaluateRecipe
from chiron.workflows.analyses import readers, strata, subgroups, worst
from chiron.workflows.decision_numbers import (
    abstention_told,
    calibration_told,
    questions_told,
    sets_told,
    unit_facts,
)
from chiron.workflows.stored import Stored

_OF_PROBABILITIES = ("log_loss", "ece", "macro_brier")  # as far as an evaluation has them
_OF_IMAGES = ("num_images", "num_groups", "class_counts", "overall", "per_class")  # beside those of another unit


def compute_numbers(stored: Stored) -> dict[str, Any]:
    """Every number with its interval, from the table of predictions alone.

    All are of the unit that the decision or the caller names, and `num_images` counts its units; where that is not the
    image, `image_level` holds those of images.

    Raises:
        DataError: no row can be scored, or the table does not name the units.
    """
    images, settings = stored.predictions, stored.settings
    decision = images.decision if stored.unit is None else images.decision.model_copy(update={"unit": stored.unit})
    made = at_unit(images, decision)
    units = made.predictions
    numbers = _evaluated(units, settings)
    numbers["unit"] = unit_facts(made, decision, images)
    numbers["image_level"] = None
    if decision.unit != "image":
        numbers["image_level"] = {key: it for key, it in _evaluated(images, settings).items() if key in _OF_IMAGES}
    numbers["questions"] = questions_told(units, settings, stored.context.clinic_prevalence or {})
    numbers["calibration_fit"] = calibration_told(units, settings)
    numbers["recalibration"] = _recalibration(units, settings)
    numbers["conformal"] = sets_told(units, settings)
    numbers["abstention"] = abstention_told(units, settings)
    of_units = replace(stored, predictions=units)
    numbers["subgroups"] = subgroups(of_units)
    numbers["strata"] = strata(of_units)
    numbers["worst_case"] = worst(of_units)
    numbers["readers"] = readers(of_units)
    numbers["split"] = stored.context.split_scored
    numbers["tta"] = images.facts.get("tta", "none")
    numbers["model_id"] = images.facts.get("bundle_id")
    return numbers


def _recalibration(units: Predictions, settings: EvaluateRecipe) -> dict[str, Any] | None:
    """On what the decision was fitted again, its thresholds, and probabilities by the decision the bundle came with."""
    found = units.facts.get("recalibration")
    if found is None:
        return None
    former = units.with_facts(decision=found["former_decision"])
    before = _evaluated(former, settings)["overall"]
    told = {key: value for key, value in found.items() if key != "former_decision"}
    now = {it.question: it.value for it in units.decision.thresholds}
    return told | {
        "overall_before": {key: before[key] for key in _OF_PROBABILITIES if key in before},
        "thresholds": {it.question: [it.value, now[it.question]] for it in former.decision.thresholds},
    }


def _evaluated(predictions: Predictions, settings: EvaluateRecipe) -> dict[str, Any]:
    """The evaluation of one table, of images or of units."""
    if not predictions.scored.height:
        raise DataError("Scoring needs images with a reference label. Got none with status ok. Fill in y_true.")
    how: dict[str, Any] = {
        "classes": predictions.classes,
        "groups": predictions.groups,
        "num_resamples": settings.num_resamples,
        "confidence": settings.confidence,
    }
    if predictions.is_multi_label:
        numbers = evaluate_multi_label(predictions.y_true, predictions.y_prob, **how).to_json()
        numbers["uncertain_labels"] = {"labels": predictions.num_uncertain, "counted_as": predictions.uncertain}
        return numbers
    how |= {"positive": predictions.positive, "ordinal": predictions.facts.get("ordinal", False)}
    return evaluate_arrays(predictions.y_true, predictions.y_prob, **how).to_json()
