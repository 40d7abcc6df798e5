"""Limits that follow from the numbers: how many cases they rest on, what they are compared with."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import (
    case,
    cases,
    count,
    defined,
    estimate_text,
    has_interval,
    is_multi_label,
    level,
    listed,
    plural,
    spread,
)
from chiron.report.sections.questions import promises_missed

FEWEST_GROUPS = 20  # below it a class cannot carry macro metrics (validity: regions of the interval methods)
FEWEST_POSITIVE_GROUPS = 100  # below it AUROC intervals hold only for well-behaved scores
MOST_NAMED = 5
TOO_FEW = "too few cases"  # how the note of an interval outside its region of validity begins

Evaluation = Mapping[str, Any]


def no_better_than_majority(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The accuracy interval reaches down to what a constant answer gets."""
    if is_multi_label(evaluation):
        return None
    baseline = evaluation["baselines"]["majority_class"]
    accuracy = evaluation["overall"]["accuracy"]
    if not (has_interval(accuracy) and defined(baseline["accuracy"])):
        return None
    if accuracy["low"] > baseline["accuracy"]["value"]:
        return None
    here, constant = (estimate_text(it, evaluation["confidence_level"]) for it in (accuracy, baseline["accuracy"]))
    return (
        f"Accuracy {here} is not shown to be better than always answering {baseline['class']}, which gets {constant}."
    )


def small_class(evaluation: Evaluation, context: ReportContext) -> str | None:
    """A class has fewer groups than its numbers need."""
    small = [
        f"{name} ({count(counts['groups'])})"
        for name, counts in evaluation["class_counts"].items()
        if counts["groups"] < FEWEST_GROUPS
    ]
    if not small:
        return None
    return (
        f"Fewer than {FEWEST_GROUPS} groups in {plural(len(small), 'class', 'classes')}: {listed(small)}. "
        "Numbers of such a class, and means over classes, are uncertain."
    )


def labels_not_assessed(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Some labels were not assessed or are uncertain, so that classes rest on different images."""
    if not is_multi_label(evaluation):
        return None
    counts, images = evaluation["class_counts"], evaluation["num_images"]
    part = [f"{name} ({count(n['assessed'])})" for name, n in counts.items() if n["assessed"] < images]
    doubted = evaluation.get("uncertain_labels", {})
    told = ""
    if part:
        told = (
            f"Not every image was assessed for every class. Assessed of {cases(evaluation)}: "
            f"{listed(part, MOST_NAMED)}. Images that were assessed may differ from those that were not."
        )
    if doubted.get("labels"):
        as_what = {"ignore": "left out", "zeros": "counted as absent", "ones": "counted as present"}
        verb = "is" if doubted["labels"] == 1 else "are"
        told += f" {plural(doubted['labels'], 'uncertain label')} {verb} {as_what[doubted['counted_as']]}."
    return told.strip() or None


def few_positives(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Two classes and few cases of the class of interest."""
    positive = evaluation.get("positive_class")
    if positive is None:
        return None
    counts = evaluation["class_counts"][positive]
    if counts["groups"] >= FEWEST_POSITIVE_GROUPS:
        return None
    return (
        f"Few positives: {plural(counts['images'], case(evaluation))} of {positive} in "
        f"{plural(counts['groups'], 'group')} (fewer than {FEWEST_POSITIVE_GROUPS}); sensitivity and "
        "AUROC rest on them."
    )


def _estimates(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    overall = [value for key, value in evaluation["overall"].items() if key != "ece"]  # ECE has a band instead
    rows = evaluation["per_class"].values()
    found = overall + [value for row in rows for key, value in row.items() if key not in ("support", "ece")]
    return [value for value in found if not value.get("withheld")]


def unreliable_intervals(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Intervals that rest on fewer cases than their method needs."""
    estimates = _estimates(evaluation)
    outside = [it for it in estimates if has_interval(it) and TOO_FEW in (it.get("note") or "")]
    if not outside:
        return None
    return (
        f"{count(len(outside))} of {plural(len(estimates), 'interval')} rest on too few cases to be reliable; "
        "the tables mark them and say how many are needed."
    )


def undefined_numbers(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Some numbers or intervals could not be given."""
    estimates = _estimates(evaluation)
    without_value = sum(not defined(estimate) for estimate in estimates)
    without_interval = sum(defined(estimate) and not has_interval(estimate) for estimate in estimates)
    if not without_value + without_interval:
        return None
    return (
        f"Of {plural(len(estimates), 'number')}, {count(without_value)} "
        f"{'is' if without_value == 1 else 'are'} not defined and {count(without_interval)} "
        f"{'has' if without_interval == 1 else 'have'} no interval; the tables give the reasons."
    )


def miscalibrated(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The ECE lies above what a calibrated model would show on so many images."""
    calibration = evaluation.get("calibration") or {}
    ece = calibration.get("ece")
    low, high = calibration.get("consistency_band") or (None, None)
    if ece is None or low is None or high is None or ece <= high:
        return None
    return (
        f"The probabilities are not calibrated: ECE {ece:.3f}, where a calibrated model would show "
        f"{spread(low, high)} on as many {case(evaluation)}s. Do not read them as risks."
    )


def views_averaged(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Probabilities are means over views, and nothing was fitted to such means."""
    views = {"hflip": "each image and its mirror image", "dihedral": "the eight ways to turn and mirror each image"}
    told = views.get(evaluation.get("tta", "none"))
    if told is None:
        return None
    return (
        f"Scored with test-time augmentation: probabilities are means over {told}. Calibration, thresholds and "
        "prediction sets were fitted without it."
    )


def promise_not_kept(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The sensitivity found at a frozen threshold is below the one promised."""
    broken = promises_missed(evaluation)
    if not broken:
        return None
    return f"Sensitivity below what the threshold was to reach ({listed(broken, MOST_NAMED)})."


def untested_differences(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Other models stand beside this one without a paired test."""
    if not context.others:
        return None
    names = listed([str(row["name"]) for row in context.others], MOST_NAMED)
    return (
        f"Differences to {names} are not tested: overlapping or separate {level(evaluation['confidence_level'])} "
        "intervals are no verdict."
    )


def other_images(evaluation: Evaluation, context: ReportContext) -> str | None:
    """A model beside this one was scored on other images."""
    here = (evaluation["num_images"], evaluation["num_groups"])
    unlike = [
        f"{row['name']} ({plural(row['evaluation']['num_images'], 'image')})"
        for row in context.others
        if (row["evaluation"]["num_images"], row["evaluation"]["num_groups"]) != here
    ]
    if not unlike:
        return None
    return (
        f"Not scored on the same images: {listed(unlike, MOST_NAMED)}, against {cases(evaluation)} here. "
        "Rows of different images cannot be compared."
    )
