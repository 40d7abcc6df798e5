"""The limits of a result, found by rule from the evaluation and its context, never written by hand.

A rule is a function that returns one sentence with its numbers, or None where the limit does not hold. To add a limit,
add a rule and put it into `RULES`; the order there is the order on the page, gravest first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import (
    count,
    defined,
    estimate_text,
    has_interval,
    level,
    listed,
    percent,
    plural,
    spread,
)

FEWEST_GROUPS = 20  # below it a class cannot carry macro metrics (validity: regions of the interval methods)
FEWEST_POSITIVE_GROUPS = 100  # below it AUROC intervals hold only for well-behaved scores
MOST_NAMED = 5
TOO_FEW = "too few cases"  # how the note of an interval outside its region of validity begins

Evaluation = Mapping[str, Any]


@dataclass(frozen=True)
class Limit:
    """One limit: the name of its rule and a sentence."""

    rule: str
    sentence: str


def limits_of(evaluation: Evaluation, context: ReportContext) -> list[Limit]:
    """Every limit that holds, in the order of `RULES`."""
    found = [(rule.__name__, rule(evaluation, context)) for rule in RULES]
    return [Limit(name, sentence) for name, sentence in found if sentence]


def leaks_accepted(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Training went on although the same picture, patient or group stands in two splits."""
    if not context.leaks_accepted:
        return None
    return (
        f"Trained with {plural(len(context.leaks_accepted), 'known leak')} between splits, accepted by name: "
        f"{listed(context.leaks_accepted, MOST_NAMED)}. Numbers on the splits concerned are too good."
    )


def selected_where_scored(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The split that chose the epoch is the split that is scored."""
    if context.split_scored != "val":
        return None
    chosen = f"epoch {context.best_epoch}" if context.best_epoch is not None else "the epoch"
    by = f" by {context.selection_metric}" if context.selection_metric else ""
    return f"Scored on val, the tuning split that also chose {chosen}{by}: the numbers are too good" + (
        ", and the test split has not been scored." if not context.test_looks else "."
    )


def test_looks(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The test split was scored more than once, or nobody knows how often."""
    foreign = context.split_scored == "unknown" and context.test_looks is None  # a table: no images were scored here
    if context.split_scored in ("val", "cal") or foreign or context.test_looks == 1:
        return None
    if context.test_looks in ("unknown", None, 0):
        return "How often these test images have been scored is unknown: no unbroken record of it exists."
    return (
        f"These test images have been scored {count(int(context.test_looks))} times; "
        "choosing after a look makes the chosen result too good."
    )


def split_unknown(evaluation: Evaluation, context: ReportContext) -> str | None:
    """A foreign table does not say which part of the data it holds."""
    if context.split_scored != "unknown":
        return None
    return (
        f"It is not known which split the {plural(evaluation['num_images'], 'image')} belong to: they may have been "
        "used for training or selection."
    )


def no_external_data(evaluation: Evaluation, context: ReportContext) -> str | None:
    """All images come from where the training images come from."""
    if context.split_scored in ("external", "unknown"):
        return None
    return (
        f"Internal testing only: all {plural(evaluation['num_images'], 'image')} come from {context.data_source}, "
        "as the training images do. Results at another site, on another device or in another population are not known."
    )


def no_better_than_majority(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The accuracy interval reaches down to what a constant answer gets."""
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


def patients_unknown(evaluation: Evaluation, context: ReportContext) -> str | None:
    """No patient id, so that images of one patient may count as independent."""
    if context.patients == "known":
        return None
    return (
        f"Patients are unknown. Intervals and splits respect {plural(evaluation['num_groups'], 'group')}; one patient "
        "may be in several of them and in two splits, so intervals may be too narrow and results too good."
    )


def ids_inferred(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The grouping rests on guessed ids."""
    if context.ids != "inferred":
        return None
    return (
        f"Group ids are inferred by the reader {context.reader}, not given by the data set: "
        f"some of the {plural(evaluation['num_groups'], 'group')} may be wrong."
    )


def image_level(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Several images of a group count one by one."""
    if context.unit != "image" or evaluation["num_images"] == evaluation["num_groups"]:
        return None
    return (
        f"The unit is the image: {plural(evaluation['num_images'], 'image')} of "
        f"{plural(evaluation['num_groups'], 'group')} are counted one by one. Results per patient or lesion differ."
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


def few_positives(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Two classes and few cases of the class of interest."""
    positive = evaluation.get("positive_class")
    if positive is None:
        return None
    counts = evaluation["class_counts"][positive]
    if counts["groups"] >= FEWEST_POSITIVE_GROUPS:
        return None
    return (
        f"Few positives: {plural(counts['images'], 'image')} of {positive} in {plural(counts['groups'], 'group')} "
        f"(fewer than {FEWEST_POSITIVE_GROUPS}); sensitivity and AUROC rest on them."
    )


def _estimates(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    overall = [value for key, value in evaluation["overall"].items() if key != "ece"]  # ECE has a band instead
    rows = evaluation["per_class"].values()
    return overall + [value for row in rows for key, value in row.items() if key != "support"]


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
        f"{spread(low, high)} on as many images. Do not read them as risks."
    )


def prevalence_unlike_clinic(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The class shares of these images are not, or are not known to be, those of the place of use."""
    counts = evaluation["class_counts"]
    positive = evaluation.get("positive_class")
    named = [positive] if positive else sorted(counts, key=lambda name: -counts[name]["images"])[:1]
    here = f"{named[0]} is {percent(counts[named[0]]['images'] / evaluation['num_images'])} of these images"
    if context.clinic_prevalence is None:
        return (
            f"{here}; the prevalence at the place of use is not stated. PPV, NPV, precision, accuracy and calibration "
            "depend on it and do not carry over."
        )
    unlike = [
        f"{name}: {percent(share)} expected, {percent(counts[name]['images'] / evaluation['num_images'])} here"
        for name, share in context.clinic_prevalence.items()
        if name in counts and not _within(share, counts[name]["prevalence"])
    ]
    if not unlike:
        return None
    return (
        f"Prevalence unlike the place of use ({listed(unlike, MOST_NAMED)}): PPV, NPV, precision, accuracy and "
        "calibration do not carry over."
    )


def _within(share: float, prevalence: Mapping[str, Any]) -> bool:
    return has_interval(prevalence) and prevalence["low"] <= share <= prevalence["high"]


def unreadable_images(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Images that could not be decoded are not in the numbers."""
    if not context.num_unreadable:
        return None
    verb = "is" if context.num_unreadable == 1 else "are"
    return f"{plural(context.num_unreadable, 'image')} could not be read and {verb} in none of the numbers."


def random_init(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Training began at random weights."""
    if context.init not in ("scratch", "random"):
        return None
    images = sum(counts["images"] for counts in context.splits.get("train", {}).values())
    on = f" and learned from {plural(images, 'training image')} alone" if images else ""
    return f"The network started from random weights (init: {context.init}){on}; no pretraining was used."


def one_seed(evaluation: Evaluation, context: ReportContext) -> str | None:
    """One run says nothing about the spread between runs."""
    if len(context.seeds) > 1:
        return None
    which = f" (seed {context.seeds[0]})" if context.seeds else ""
    return (
        f"One training run{which}: the intervals cover the choice of test images, not the spread between training runs."
    )


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
        f"Not scored on the same images: {listed(unlike, MOST_NAMED)}, against {plural(here[0], 'image')} here. "
        "Rows of different images cannot be compared."
    )


def population_not_described(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Age, sex, sites, devices are not told."""
    if context.population:
        return None
    return (
        f"The population behind the {plural(evaluation['num_groups'], 'group')} is not described: "
        "ages, sexes, sites and devices are unknown to this report."
    )


def reference_not_described(evaluation: Evaluation, context: ReportContext) -> str | None:
    """How the labels were made is not told."""
    if context.reference_standard:
        return None
    return (
        f"The reference standard is not described: who or what labeled the {plural(evaluation['num_images'], 'image')} "
        f"as {listed(list(evaluation['classes']), MOST_NAMED)}, and how reliably, is unknown to this report."
    )


RULES: tuple[Callable[[Evaluation, ReportContext], str | None], ...] = (
    leaks_accepted,
    selected_where_scored,
    split_unknown,
    test_looks,
    no_better_than_majority,
    no_external_data,
    patients_unknown,
    ids_inferred,
    image_level,
    small_class,
    few_positives,
    unreliable_intervals,
    undefined_numbers,
    miscalibrated,
    prevalence_unlike_clinic,
    unreadable_images,
    population_not_described,
    reference_not_described,
    random_init,
    one_seed,
    other_images,
    untested_differences,
)
