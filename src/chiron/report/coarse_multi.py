"""The evaluation that may leave a project, where an image can have several classes or none.

As in `coarse`, every number is the exact one or is withheld. Each class is looked at alone, by the four cells of its
decisions at 0.5: what the cells of several classes together say of a single image is not.
"""

from collections.abc import Mapping
from typing import Any

from chiron.report.coarse import (
    FEW_IMAGES,
    FEW_OF_CLASS,
    FEWEST,
    FEWEST_IMAGES,
    OF_OTHER_DECISIONS,
    OF_SUCH_CLASSES,
    OTHER_DECISION,
    SMALL_CELL,
    coarse,
    coarse_calibration,
    coarse_curves,
    coarse_sizes,
    exact,
    share_in_words,
    withheld,
)

_OF_OUTPUTS = (
    "auroc",
    "partial_auroc",
    "average_precision",
    "brier",
    "ece",
)  # made from the order or the size of outputs
_OVERALL_OF_OUTPUTS = (
    *("macro_auroc", "macro_partial_auroc", "macro_average_precision", "micro_auroc", "macro_brier", "ece"),
)

Evaluation = Mapping[str, Any]


def shareable_multi_label(evaluation: Evaluation) -> dict[str, Any]:
    """The same evaluation with coarse counts, and with numbers that are exact or withheld."""
    tables, counts = evaluation["confusion_matrix"]["by_class"], evaluation["class_counts"]
    hidden = {name for name, cells in tables.items() if min(cells.values()) < FEWEST}
    sides = {name: (n["images"], n["assessed"] - n["images"]) for name, n in counts.items()}
    one_sided = {name for name, both in sides.items() if min(both) < FEWEST}
    images = evaluation["num_images"]
    doubted = evaluation.get("uncertain_labels", {})
    labels = sum(n["assessed"] for n in counts.values())
    wrong = [cells["fp"] + cells["fn"] for cells in tables.values()]
    return {
        **evaluation,
        **coarse_sizes(images, evaluation["num_groups"]),
        "class_counts": {name: _counts(n) for name, n in counts.items()},
        "baselines": {
            "constant": {
                "present": evaluation["baselines"]["constant"]["present"],
                "exact_match": _all_right(evaluation["baselines"]["constant"]["exact_match"]),
            }
        },
        "overall": {
            key: _overall(key, it, images, rates=not hidden, ranking=not one_sided)
            for key, it in evaluation["overall"].items()
        },
        "per_class": {
            name: _one_class(it, counts[name]["assessed"], hidden=name in hidden, one_sided=name in one_sided)
            for name, it in evaluation["per_class"].items()
        },
        "confusion_matrix": {
            "labels": evaluation["confusion_matrix"]["labels"],
            "by_class": {name: {kind: coarse(n) for kind, n in cells.items()} for name, cells in tables.items()},
        },
        "calibration": coarse_calibration(
            evaluation.get("calibration") or {}, labels, accuracy=FEWEST <= sum(wrong) <= labels - FEWEST and not hidden
        ),
        "curves": {"roc": coarse_curves(evaluation, sides)},
        "uncertain_labels": {**doubted, "labels": coarse(doubted["labels"]) if doubted["labels"] else 0}
        if doubted
        else {},
    }


def _counts(counts: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: coarse(value) for key, value in counts.items() if key != "prevalence"}
    share = share_in_words(counts["images"], counts["assessed"]) if counts["assessed"] else FEW_IMAGES
    return {**told, "prevalence": withheld(share)}


def _overall(key: str, estimate: Mapping[str, Any], images: int, *, rates: bool, ranking: bool) -> dict[str, Any]:
    """One number of all classes: `rates`, no class is withheld; `ranking`, none has fewer than five on a side."""
    if images < FEWEST_IMAGES:
        return withheld(FEW_IMAGES)
    if key == "exact_match":
        return _all_right(estimate)
    if key in _OVERALL_OF_OUTPUTS:
        return exact(estimate, unless=None if ranking or key in ("macro_brier", "ece") else FEW_OF_CLASS)
    return exact(estimate, unless=None if rates else OF_SUCH_CLASSES)


def _all_right(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """A share of images that are right in every class."""
    right = round((estimate["value"] or 0) * estimate["num_images"])
    told = FEWEST <= right <= estimate["num_images"] - FEWEST and estimate["num_images"] >= FEWEST_IMAGES
    return exact(estimate, unless=None if told else SMALL_CELL)


def _one_class(results: Mapping[str, Any], assessed: int, *, hidden: bool, one_sided: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"support": {name: coarse(value) for name, value in results["support"].items()}}
    for key, estimate in results.items():
        if key == "support":
            continue
        if key.startswith(OF_OTHER_DECISIONS):
            told[key] = withheld(OTHER_DECISION)
            continue
        reason = FEW_OF_CLASS if one_sided and key not in ("brier", "ece") else None
        if key not in _OF_OUTPUTS and hidden:
            reason = SMALL_CELL
        told[key] = exact(estimate, unless=FEW_IMAGES if assessed < FEWEST_IMAGES else reason)
    return told
