"""Coarse numbers: an evaluation from which no count below five can be worked out.

The evaluation itself is made coarse, once; tables, figures and sentences are then made from the coarse numbers alone,
so that none of them can tell more than these do. Counts are rounded down to multiples of five, and those below five
become `Few`. Rates are computed anew from the coarse confusion matrix, as if every cell lay in the middle of what it
may be: rates of the exact one, however rounded, single out small cells when several of them are put together. An
interval keeps the width that it has around the exact rate. A rate with fewer than five images on one side is given as
a bound.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from chiron.metrics.evaluation import FEWEST_RESAMPLES, evaluate
from chiron.report.format import Few, number
from chiron.report.sentences import confidence_direction

FEWEST = 5
TOO_FEW = "too few cases for a reliable interval"
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # wider ones would say nothing: such numbers are withheld
FEWEST_FOR_RATES = 25  # images, the least that the widest step is made for
PROPORTIONS = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "precision")
# Made from the order or the size of all outputs: they single out no count.
OF_OUTPUTS = (*("auroc", "macro_auroc", "average_precision", "macro_average_precision", "brier", "log_loss", "ece"),)
OF_ONE_OUTPUT = ("ppv", "npv", "precision")  # shares of the images that the model gives one output
OF_ALL_IMAGES = ("accuracy", "brier", "log_loss", "ece")
CURVE_POINTS = 21

Evaluation = Mapping[str, Any]
Estimate = dict[str, Any]


def coarse(value: int) -> int:
    """A count rounded down to a multiple of five; `Few` below five.

    Example:
        >>> coarse(62), coarse(4), coarse(0)
        (60, <5, <5)
    """
    return Few() if value < FEWEST else value - value % FEWEST


def step_of(num_images: int) -> float:
    """The width of rounding at which five counts out of so many images look the same."""
    return next(step for step in STEPS if step * num_images >= FEWEST or step == STEPS[-1])


def shareable_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """The same evaluation with coarse counts and numbers."""
    evaluation = _with_rates_of_coarse_counts(evaluation)
    images, groups = evaluation["num_images"], evaluation["num_groups"]
    sizes = {name: counts["images"] for name, counts in evaluation["class_counts"].items()}
    too_few = bool(evaluation.get("positive_class")) and min(sizes.values()) < FEWEST
    majority = evaluation["baselines"]["majority_class"]
    per_class = {
        name: _class_results(results, sizes[name], images - sizes[name])
        for name, results in evaluation["per_class"].items()
    }
    return {
        **evaluation,
        **_sizes(images, groups),
        "class_counts": {
            name: {
                "images": coarse(counts["images"]),
                "groups": coarse(counts["groups"]),
                "prevalence": _proportion(counts["prevalence"]),
            }
            for name, counts in evaluation["class_counts"].items()
        },
        "baselines": {
            "majority_class": {
                "class": majority["class"],
                "accuracy": _proportion(majority["accuracy"]),
                "balanced_accuracy": _coarse_sizes(majority["balanced_accuracy"]),
            }
        },
        "overall": {
            key: _withheld(estimate, f"fewer than {FEWEST} images of one class")
            if too_few and key not in OF_ALL_IMAGES
            else _estimate(key, estimate)
            for key, estimate in evaluation["overall"].items()
        },
        "per_class": per_class,
        "confusion_matrix": {
            "labels": evaluation["confusion_matrix"]["labels"],
            "counts": [[coarse(cell) for cell in row] for row in evaluation["confusion_matrix"]["counts"]],
            "middles": [[_middle(cell) for cell in row] for row in evaluation["confusion_matrix"]["counts"]],
        },
        "calibration": _calibration(evaluation.get("calibration") or {}),
        "curves": {"roc": _curves(evaluation, sizes)},
    }


def coarse_other(evaluation: Evaluation) -> dict[str, Any]:
    """What stands of a model beside this one, of which no confusion matrix is kept: its rates rounded."""
    overall = {key: _estimate(key, estimate) for key, estimate in evaluation["overall"].items()}
    return {**_sizes(evaluation["num_images"], evaluation["num_groups"]), "overall": overall}


def _with_rates_of_coarse_counts(evaluation: Evaluation) -> dict[str, Any]:
    """The same evaluation with every rate of right and wrong outputs, and every prevalence, made from coarse counts."""
    cells = tuple(tuple(_middle(cell) for cell in row) for row in evaluation["confusion_matrix"]["counts"])
    rates = _rates(cells, tuple(evaluation["classes"]), evaluation.get("positive_class"))
    middles = {name: _middle(counts["images"]) for name, counts in evaluation["class_counts"].items()}
    shares = {
        name: {"value": middle / sum(middles.values()), "num_images": sum(middles.values())}
        for name, middle in middles.items()
    }
    majority = evaluation["baselines"]["majority_class"]
    return {
        **evaluation,
        "class_counts": {
            name: {**counts, "prevalence": _moved(counts["prevalence"], shares[name])}
            for name, counts in evaluation["class_counts"].items()
        },
        "baselines": {
            "majority_class": {**majority, "accuracy": _moved(majority["accuracy"], shares[majority["class"]])}
        },
        "overall": {key: _rate(key, it, rates["overall"]) for key, it in evaluation["overall"].items()},
        "per_class": {
            name: {key: _rate(key, it, rates["per_class"][name]) for key, it in results.items()}
            for name, results in evaluation["per_class"].items()
        },
    }


def _rate(key: str, estimate: Any, rates: Mapping[str, Any]) -> Any:
    """The estimate made from coarse counts, if it rests on counts; without its groups where these depend on outputs."""
    if key in (*OF_OUTPUTS, "support"):
        return estimate
    moved = _moved(estimate, rates[key])
    if key in OF_ONE_OUTPUT:  # the denominator too is made of cells
        return {**moved, "num_images": rates[key]["num_images"], "num_groups": None}
    return moved


def _middle(value: int) -> int:
    """The middle of the counts that look like this one."""
    found = coarse(value)
    return int(found) + (0 if isinstance(found, Few) else FEWEST // 2)


@lru_cache(maxsize=16)
def _rates(cells: tuple[tuple[int, ...], ...], classes: tuple[str, ...], positive: str | None) -> dict[str, Any]:
    """What the metrics say of a confusion matrix alone."""
    y_true, y_pred = (np.repeat(place.ravel(), np.ravel(cells)) for place in np.indices(np.shape(cells)))
    settings: dict[str, Any] = {"classes": classes, "positive": positive, "groups": None}
    y_prob = np.eye(len(classes))[y_pred]
    return evaluate(y_true, y_prob, **settings, num_resamples=FEWEST_RESAMPLES).to_json()


def _moved(estimate: Estimate, coarse_one: Mapping[str, Any]) -> Estimate:
    """The estimate with another value and denominator; its interval moves along and keeps its width."""
    if estimate["value"] is None or coarse_one["value"] is None:
        return estimate
    value, shift = coarse_one["value"], coarse_one["value"] - estimate["value"]
    low, high = (
        None if limit is None else min(max(limit + shift, 0.0), 1.0) for limit in (estimate["low"], estimate["high"])
    )
    images = int(coarse(estimate["num_images"])) or estimate["num_images"]
    return {**estimate, "value": value, "low": low, "high": high, "num_images": images}


def _sizes(images: int, groups: int) -> dict[str, int]:
    """Both counts; kept apart where they differ, as equal ones say that every group has one image."""
    few_groups = coarse(groups)
    if groups < images and few_groups == coarse(images):
        few_groups = coarse(groups - FEWEST)
    return {"num_images": coarse(images), "num_groups": few_groups}


def _estimate(key: str, estimate: Estimate, num_images: int | None = None) -> Estimate:
    if key in PROPORTIONS:
        return _proportion(estimate)
    if key in OF_OUTPUTS:
        return _coarse_sizes(estimate)
    return _rounded(estimate, num_images or estimate["num_images"])


def _class_results(results: Mapping[str, Any], inside: int, outside: int) -> dict[str, Any]:
    """The numbers of one class against the rest; none at all where one side has fewer than five images."""
    support = {name: coarse(value) for name, value in results["support"].items()}
    estimates = {key: value for key, value in results.items() if key != "support"}
    fewest = min(inside, outside)
    if fewest < FEWEST:
        withheld = {key: _withheld(it, f"fewer than {FEWEST} images") for key, it in estimates.items()}
        return {"support": support, **withheld}
    return {"support": support, **{key: _estimate(key, it, fewest) for key, it in estimates.items()}}


def _proportion(estimate: Estimate) -> Estimate:
    """Rounded; a bound where fewer than five images lie on one side; nothing where they are so few on both."""
    images, value = estimate["num_images"], estimate["value"]
    if value is None:
        return _coarse_sizes(estimate)
    hits = round(value * images)
    small, large = hits < FEWEST, images - hits < FEWEST
    if small and large:
        return _withheld(estimate, f"fewer than {FEWEST_FOR_RATES} images")
    bound = FEWEST / coarse(images)
    if small:
        return _withheld(estimate, f"below {number(bound)} (fewer than {FEWEST} images)")
    if large:
        return _withheld(estimate, f"above {number(1 - bound)} (all but fewer than {FEWEST} images)")
    return _rounded(estimate, images)


def _rounded(estimate: Estimate, images: int) -> Estimate:
    """Value to the nearest step, limits outward to a step; nothing where so few images allow no useful step."""
    if images < FEWEST_FOR_RATES:
        return _withheld(estimate, f"fewer than {FEWEST_FOR_RATES} images")
    step = step_of(images)
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    return {
        **_coarse_sizes(estimate),
        "value": None if value is None else round(round(value / step) * step, 6),
        "low": None if low is None else round(math.floor(low / step + 1e-9) * step, 6),
        "high": None if high is None else round(math.ceil(high / step - 1e-9) * step, 6),
        "decimals": 1 if step >= 0.1 else 2 if step >= 0.01 else 3,
    }


def _withheld(estimate: Estimate, note: str) -> Estimate:
    return {**_coarse_sizes(estimate), "value": None, "low": None, "high": None, "note": note, "withheld": True}


def _coarse_sizes(estimate: Estimate) -> Estimate:
    keys = ("num_images", "num_groups", "num_positive_groups")
    sizes = {key: coarse(estimate[key]) for key in keys if estimate.get(key) is not None}
    return {**estimate, **sizes, "note": _note(estimate.get("note"))}


def _note(note: str | None) -> str | None:
    """A note without its counts."""
    if not note:
        return note
    if note.startswith(TOO_FEW):
        return TOO_FEW
    return "the reason holds counts that are not shown" if any(c.isdigit() for c in note) else note


def _calibration(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Only bins with five images or more on both sides, right and wrong."""
    bins = []
    for entry in stored.get("bins", []):
        right = round(entry["count"] * (entry["accuracy"] or 0))
        if min(right, entry["count"] - right) >= FEWEST and entry["count"] >= FEWEST_FOR_RATES:
            step = step_of(entry["count"])
            accuracy = round(round(entry["accuracy"] / step) * step, 6)
            bins.append({**entry, "count": coarse(entry["count"]), "accuracy": accuracy})
    direction = confidence_direction(stored["bins"]) if stored.get("bins") else ""
    return {**stored, "bins": bins, "direction": direction}  # the bins that stay do not tell it


def _curves(evaluation: Evaluation, sizes: Mapping[str, int]) -> dict[str, Any]:
    """ROC curves on a fixed grid: their steps would tell how many images there are, and which."""
    total, grid = evaluation["num_images"], np.linspace(0, 1, CURVE_POINTS)
    found: dict[str, Any] = {}
    for name, curve in evaluation.get("curves", {}).get("roc", {}).items():
        fewest = min(sizes[name], total - sizes[name])
        if curve is None or fewest < FEWEST_FOR_RATES:
            found[name] = None
            continue
        step = step_of(sizes[name])
        heights = np.interp(grid, curve["fpr"], curve["tpr"])
        heights = np.maximum.accumulate(np.round(heights / step) * step).clip(0, 1)
        heights[-1] = 1.0
        found[name] = {"fpr": [0.0, *grid.tolist()], "tpr": [0.0, *heights.tolist()]}
    return found
