"""The evaluation that may leave a project: every number in it is the exact one, or is withheld with its reason.

Tables, figures and sentences are made from it alone, so that none of them can tell more. Counts are rounded down to
multiples of five, and those below five become `Few`. Rates of right and wrong outputs are withheld where they rest on
fewer than five images, or where such a count could be worked out from them and the counts beside them.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from chiron.report.format import NBSP, Few
from chiron.report.sentences import confidence_direction, per_thousand
from chiron.report.small_cells import FEWEST, sums_told, too_small, withheld_classes

FEWEST_IMAGES = 25  # below it nothing is told but counts and what they bound
# Made from the order or the size of all outputs: they single out no count.
OF_ALL_IMAGES = ("brier", "log_loss", "ece")
OF_RANKING = (
    *("auroc", "macro_auroc", "partial_auroc", "macro_partial_auroc"),  # weighted means would tell sizes of classes
    *("average_precision", "macro_average_precision"),
)
OF_OUTPUTS = (*OF_RANKING, *OF_ALL_IMAGES)
# Rates of a second decision: with those of the first, they count the images between both.
OF_OTHER_DECISIONS = ("sensitivity_at_", "specificity_at_", "top_")
CURVE_POINTS = 21
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # of the heights of a drawn curve

SMALL_CELL = f"withheld: rests on fewer than {FEWEST} images in a cell, or would tell such a cell"
OTHER_DECISION = "withheld: beside the rates of the decisions it would tell how many images lie between"
OF_SUCH_CLASSES = f"withheld: made from classes with fewer than {FEWEST} images in a cell"
FEW_OF_CLASS = f"withheld: fewer than {FEWEST} images on one side"
FEW_IMAGES = f"withheld: fewer than {FEWEST_IMAGES} images"
NO_MATRIX = "withheld: only ranking, probabilities and accuracy are told of a model beside this one"
TOO_FEW = "too few cases for a reliable interval"

Evaluation = Mapping[str, Any]
Estimate = Mapping[str, Any]


def coarse(value: int) -> int:
    """A count rounded down to a multiple of five; `Few` below five.

    Example:
        >>> coarse(62), coarse(4), coarse(0)
        (60, <5, <5)
    """
    return Few() if value < FEWEST else value - value % FEWEST


def shareable_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """The same evaluation with coarse counts, and with numbers that are exact or withheld."""
    matrix = np.asarray(evaluation["confusion_matrix"]["counts"], dtype=np.int64)
    images, classes = evaluation["num_images"], evaluation["confusion_matrix"]["labels"]
    sizes = {name: counts["images"] for name, counts in evaluation["class_counts"].items()}
    majority = evaluation["baselines"]["majority_class"]
    told = sums_told(matrix)
    hidden = {classes[place] for place in withheld_classes(matrix)}
    one_sided = bool(evaluation.get("positive_class")) and min(sizes.values()) < FEWEST
    return {
        **evaluation,
        **coarse_sizes(images, evaluation["num_groups"]),
        "class_counts": {
            name: {
                "images": coarse(counts["images"]),
                "groups": coarse(counts["groups"]),
                "prevalence": withheld(share_in_words(counts["images"], images)),
            }
            for name, counts in evaluation["class_counts"].items()
        },
        "baselines": {
            "majority_class": {
                "class": majority["class"],
                "accuracy": exact(majority["accuracy"], unless=None if "majority" in told else SMALL_CELL),
                "balanced_accuracy": exact(majority["balanced_accuracy"]),
            }
        },
        "overall": {
            key: _overall(key, it, images, accuracy="accuracy" in told, rates=not hidden, one_sided=one_sided)
            for key, it in evaluation["overall"].items()
        },
        "per_class": {
            name: _one_class(results, sizes[name], images, hidden=name in hidden)
            for name, results in evaluation["per_class"].items()
        },
        "confusion_matrix": {
            "labels": classes,
            "counts": [[coarse(cell) for cell in row] for row in matrix.tolist()],
            "per_thousand": [] if hidden else per_thousand(evaluation),
        },
        "calibration": coarse_calibration(evaluation.get("calibration") or {}, images, accuracy="accuracy" in told),
        "curves": {"roc": coarse_curves(evaluation, {name: (size, images - size) for name, size in sizes.items()})},
    }


def coarse_other(evaluation: Evaluation) -> dict[str, Any]:
    """What is told of a model beside this one, of which no confusion matrix is kept."""
    images, accuracy = evaluation["num_images"], evaluation["overall"].get("accuracy", {}).get("value")
    right = round((accuracy or 0) * images)
    told = FEWEST <= right <= images - FEWEST
    overall = {
        key: _overall(key, it, images, accuracy=told, rates=False, one_sided=False, reason=NO_MATRIX)
        for key, it in evaluation["overall"].items()
    }
    return {**coarse_sizes(images, evaluation["num_groups"]), "overall": overall}


def coarse_sizes(images: int, groups: int) -> dict[str, int]:
    """Both counts; kept apart where they differ, as equal ones say that every group has one image."""
    few_groups = coarse(groups)
    if groups < images and few_groups == coarse(images):
        few_groups = coarse(groups - FEWEST)
    return {"num_images": coarse(images), "num_groups": few_groups}


def share_in_words(part: int, whole: int) -> str:
    """The share as the coarse counts allow it: between bounds that hold for every count that they may stand for."""
    low, high = part - part % FEWEST, part - part % FEWEST + FEWEST - 1
    fewest, most = whole - whole % FEWEST, whole - whole % FEWEST + FEWEST - 1
    below, above = math.floor(100 * low / most), min(math.ceil(100 * high / max(fewest, 1)), 100)
    return f"about {below}–{above}{NBSP}%"


def _overall(
    key: str,
    estimate: Estimate,
    images: int,
    *,
    accuracy: bool,
    rates: bool,
    one_sided: bool,
    reason: str = OF_SUCH_CLASSES,
) -> dict[str, Any]:
    """One number of all classes.

    Args:
        accuracy: the accuracy may be told.
        rates: no class is withheld.
        one_sided: one of two classes has fewer than five images.
        reason: why rates are withheld.
    """
    if images < FEWEST_IMAGES:
        return withheld(FEW_IMAGES)
    if key.startswith(OF_OTHER_DECISIONS):
        return withheld(OTHER_DECISION)
    if key == "accuracy":
        return exact(estimate, unless=None if accuracy else SMALL_CELL)
    if key not in OF_OUTPUTS:
        return exact(estimate, unless=None if rates else reason)
    return exact(estimate, unless=FEW_OF_CLASS if one_sided and key not in OF_ALL_IMAGES else None)


def _one_class(results: Mapping[str, Any], inside: int, images: int, *, hidden: bool) -> dict[str, Any]:
    """The numbers of one class against the rest."""
    one_sided = min(inside, images - inside) < FEWEST

    def reason(key: str) -> str | None:
        if images < FEWEST_IMAGES:
            return FEW_IMAGES
        if key.startswith(OF_OTHER_DECISIONS):
            return OTHER_DECISION
        if key in OF_OUTPUTS:
            return FEW_OF_CLASS if one_sided else None
        return SMALL_CELL if hidden else None

    support = {name: coarse(value) for name, value in results["support"].items()}
    return {
        "support": support,
        **{key: exact(it, unless=reason(key)) for key, it in results.items() if key != "support"},
    }


def exact(estimate: Estimate, *, unless: str | None = None) -> dict[str, Any]:
    """The estimate as it is, with coarse sizes and a note without counts; withheld where a reason is given."""
    if unless:
        return withheld(unless)
    keys = ("num_images", "num_groups", "num_positive_groups")
    sizes = {key: coarse(estimate[key]) for key in keys if estimate.get(key) is not None}
    return {**estimate, **sizes, "note": _note(estimate.get("note"))}


def withheld(note: str) -> dict[str, Any]:
    """No value, no interval and no size: only why."""
    return {"value": None, "low": None, "high": None, "method": "", "note": note, "withheld": True}


def _note(note: str | None) -> str | None:
    """A note without its counts."""
    if not note:
        return note
    if note.startswith(TOO_FEW):
        return TOO_FEW
    return "the reason holds counts that are not shown" if any(c.isdigit() for c in note) else note


def coarse_calibration(stored: Mapping[str, Any], images: int, *, accuracy: bool) -> dict[str, Any]:
    """Only bins with five images or more on both sides, right and wrong; none where they would tell the accuracy."""
    if images < FEWEST_IMAGES:
        return {"note": FEW_IMAGES}
    filled = [entry for entry in stored.get("bins", []) if entry["count"]]
    smallest = []
    for entry in filled:
        right = round(entry["count"] * entry["accuracy"])
        smallest.append(min(right, entry["count"] - right) if entry["count"] >= FEWEST_IMAGES else 0)
    hidden = too_small(smallest) if accuracy else set(range(len(filled)))
    bins = [{**it, "count": coarse(it["count"])} for place, it in enumerate(filled) if place not in hidden]
    direction = confidence_direction(filled) if filled else ""
    return {**stored, "bins": bins, "direction": direction}  # the bins that stay do not tell it


def coarse_curves(evaluation: Evaluation, sides: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """ROC curves on a fixed grid: their steps would tell how many images there are, and which.

    Args:
        sides: images with and without each class.
    """
    grid = np.linspace(0, 1, CURVE_POINTS)
    found: dict[str, Any] = {}
    for name, curve in evaluation.get("curves", {}).get("roc", {}).items():
        if curve is None or min(sides[name]) < FEWEST_IMAGES:
            found[name] = None
            continue
        step = next(step for step in STEPS if step * sides[name][0] >= FEWEST)
        heights = np.interp(grid, curve["fpr"], curve["tpr"])
        heights = np.maximum.accumulate(np.round(heights / step) * step).clip(0, 1)
        heights[-1] = 1.0
        found[name] = {"fpr": [0.0, *grid.tolist()], "tpr": [0.0, *heights.tolist()]}
    return found
