"""Every number of an evaluation, computed from a table of predictions alone."""

from typing import Any

from chiron.core.errors import DataError
from chiron.metrics.evaluation import evaluate as evaluate_arrays
from chiron.metrics.multi_label import evaluate_multi_label
from chiron.workflows.analyses import readers, strata, subgroups, worst
from chiron.workflows.stored import Stored


def compute_numbers(stored: Stored) -> dict[str, Any]:
    """Every number with its interval, from the table of predictions alone.

    Raises:
        DataError: no row can be scored.
    """
    predictions, settings = stored.predictions, stored.settings
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
    else:
        how["positive"] = predictions.positive
        how["ordinal"] = predictions.facts.get("ordinal", False)
        numbers = evaluate_arrays(predictions.y_true, predictions.y_prob, **how).to_json()
    numbers["subgroups"] = subgroups(stored)
    numbers["strata"] = strata(stored)
    numbers["worst_case"] = worst(stored)
    numbers["readers"] = readers(stored)
    numbers["split"] = stored.context.split_scored
    numbers["model_id"] = predictions.facts.get("bundle_id")
    return numbers
