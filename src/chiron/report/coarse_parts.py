"""What may leave a project of questions, units and subgroups: coarse counts, and numbers exact or withheld.

Subgroups are told by age, sex and skin tone, under these words: names of other columns and their values are free text.
Strata of the reference standard, readers, failed cases as worst case, referral and prediction sets are left out as a
whole, and so is every part that is not named here: counts of single people or of few cases are what they are about.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chiron.report.coarse import (
    FEW_IMAGES,
    FEW_OF_CLASS,
    FEWEST,
    FEWEST_IMAGES,
    NO_MATRIX,
    SMALL_CELL,
    coarse,
    coarse_other,
    exact,
    share_in_words,
    shareable_evaluation,
    withheld,
)
from chiron.report.coarse_multi import shareable_multi_label
from chiron.report.format import is_multi_label
from chiron.report.limits_of_data import recorded_characteristics
from chiron.report.sentences import thousandths_of
from chiron.report.small_cells import withheld_classes

# Parts that `shareable_evaluation` and `shareable_multi_label` have made coarse, or that hold no counts of cases.
_COARSE = (
    *("format", "kind", "classes", "positive_class", "confidence_level", "num_resamples", "split", "model_id"),
    *("num_images", "num_groups", "class_counts", "baselines", "overall", "per_class", "confusion_matrix"),
    *("calibration", "curves", "uncertain_labels"),
)
NO_IMAGE_MATRIX = "withheld: only ranking, probabilities and accuracy are told of images"
_RATES = {"sensitivity": "positives", "specificity": "negatives"}  # of a part, with what they are shares of
_COUNTS = ("images", "groups", "positives", "negatives")

Numbers = Mapping[str, Any]


def shareable_numbers(evaluation: Numbers) -> dict[str, Any]:
    """The whole evaluation for a page that leaves the project; parts without a rule are left out."""
    made_coarse = shareable_multi_label if is_multi_label(evaluation) else shareable_evaluation
    found = {key: value for key, value in made_coarse(evaluation).items() if key in _COARSE}
    if evaluation.get("unit"):
        found["unit"] = _unit(evaluation["unit"])
    if evaluation.get("image_level"):
        found["image_level"] = _image_level(evaluation["image_level"])
    if evaluation.get("calibration_fit"):
        found["calibration_fit"] = _calibration_fit(evaluation)
    if again := evaluation.get("recalibration"):
        sizes = {key: coarse(again[key]) for key in ("num_images", "num_units", "num_groups")}
        found["recalibration"] = {
            key: again[key] for key in ("former_bundle_id", "split", "unit", "thresholds")
        } | sizes
    found["questions"] = {name: _question(it) for name, it in (evaluation.get("questions") or {}).items()}
    found["subgroups"] = [
        _subgroups({**it, "attribute": known[0]})
        for it in evaluation.get("subgroups") or []
        if "groups" in it and (known := recorded_characteristics([it["attribute"]]))
    ]
    return found


def _unit(unit: Numbers) -> dict[str, Any]:
    told = {key: coarse(unit[key]) for key in ("num_units", "num_images")}
    return {**unit, **told, "num_without_id": coarse(unit["num_without_id"]) if unit["num_without_id"] else 0}


def _image_level(images: Numbers) -> dict[str, Any]:
    """What is told of a model without its matrix, with a reason in words of its own."""
    told = coarse_other(images)
    overall = {
        key: it | {"note": NO_IMAGE_MATRIX} if it.get("note") == NO_MATRIX else it
        for key, it in told["overall"].items()
    }
    return {**told, "overall": overall}


def _calibration_fit(evaluation: Numbers) -> dict[str, Any]:
    """Fits of classes with five cases on either side."""
    fit = evaluation["calibration_fit"]
    told: dict[str, Any] = {"by_class": {}, "before": {} if fit["before"] else None}
    for name in fit["by_class"]:
        counts = evaluation["class_counts"][name]
        whole = counts.get("assessed", evaluation["num_images"])
        sided = min(counts["images"], whole - counts["images"]) < FEWEST
        reason = FEW_IMAGES if whole < FEWEST_IMAGES else FEW_OF_CLASS if sided else None
        for part in (part for part in told if told[part] is not None):
            told[part][name] = {key: exact(it, unless=reason) for key, it in fit[part][name].items()}
    sizes = {key: coarse(fit[key]) for key in ("num_units", "num_groups")}
    return {**{key: fit[key] for key in ("method", "fitted_on", "num_members")}, **sizes, **told}


def _question(question: Numbers) -> dict[str, Any]:
    """Rates are told where the same cells of two classes would let them be told."""
    counts, threshold = question["counts"], question["threshold"]
    cases, positives = sum(counts.values()), counts["found"] + counts["missed"]
    matrix = np.array([[counts["rightly_negative"], counts["false_alarms"]], [counts["missed"], counts["found"]]])
    hidden = bool(withheld_classes(matrix))
    one_sided = min(positives, cases - positives) < FEWEST
    told: dict[str, Any] = {}
    for key, value in question.items():
        if not isinstance(value, Mapping) or "method" not in value:
            continue
        of_outputs = key in ("auroc", "average_precision")
        reason = (FEW_OF_CLASS if one_sided else None) if of_outputs else (SMALL_CELL if hidden else None)
        told[key] = exact(value, unless=FEW_IMAGES if cases < FEWEST_IMAGES else reason)
    return {
        **told,
        "classes": question["classes"],
        "counts": {kind: coarse(n) for kind, n in counts.items()},
        "prevalence": share_in_words(positives, cases) if cases else FEW_IMAGES,
        "per_1000": None if hidden else thousandths_of(list(counts.values())),
        "threshold": threshold and _threshold(threshold),
    }


def _threshold(threshold: Numbers) -> dict[str, Any]:
    """A threshold is the score of a single case, so it is told in two decimals."""
    rounded = {key: None if threshold[key] is None else round(threshold[key], 2) for key in ("value", "low", "high")}
    sizes = {key: coarse(threshold[key]) for key in ("num_found", "num_positive", "num_groups")}
    return {**{key: threshold[key] for key in ("rule", "sensitivity", "fitted_on")}, **rounded, **sizes}


def _part(part: Numbers) -> dict[str, Any]:
    """The numbers of one part of the cases: a rate needs five right and five wrong ones behind it."""
    told: dict[str, Any] = {key: coarse(part[key]) for key in _COUNTS}
    few = part["images"] < FEWEST_IMAGES or part["groups"] < FEWEST
    sided = min(part["positives"], part["negatives"]) < FEWEST
    for key, estimate in part.items():
        if key in _COUNTS or key == "difference_to_rest":
            continue
        reason = FEW_OF_CLASS if sided else None
        if key in _RATES and _few_on_a_side(estimate, part[_RATES[key]]):
            reason = SMALL_CELL
        told[key] = exact(estimate, unless=FEW_IMAGES if few else reason)
    return told


def _few_on_a_side(rate: Numbers, cases: int) -> bool:
    right = round((rate["value"] or 0) * cases)
    return min(right, cases - right) < FEWEST


def _subgroups(entry: Numbers) -> dict[str, Any]:
    """The groups of an attribute; differences and sentences only of metrics that are told of every group.

    The rest of one withheld group are the others: a difference to it would tell what was withheld.
    """
    groups = {name: _part(part) for name, part in entry["groups"].items()}
    _never_one(list(groups.values()))
    open_metrics = [
        key
        for key in ("sensitivity", "specificity", "auroc")
        if not any(it[key].get("withheld") for it in groups.values())
    ]
    for name, part in entry["groups"].items():
        gaps = part.get("difference_to_rest", {})
        groups[name]["difference_to_rest"] = {
            key: exact(gap) if key in open_metrics else withheld(SMALL_CELL) for key, gap in gaps.items()
        }
    told = {*open_metrics} >= {"sensitivity", "specificity"}
    nothing = {"p_value": None, "p_adjusted": None, "method": "", "note": SMALL_CELL}
    return {
        **{key: entry[key] for key in ("question", "attribute", "planned")},
        "groups": groups,
        "interaction": entry["interaction"] if told else nothing,
        "cannot_be_excluded": [it for it in entry["cannot_be_excluded"] if it.split(",")[0] in open_metrics],
    }


def _never_one(parts: Sequence[dict[str, Any]]) -> None:
    """Withholds a second one where a rate is withheld of one part alone: it would follow from the others."""
    for key in (*_RATES, "observed_over_expected"):
        told = [part for part in parts if not part[key].get("withheld")]
        if len(told) == len(parts) - 1 and told:
            told[0][key] = withheld(SMALL_CELL)
