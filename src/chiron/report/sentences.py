"""Sentences of the report that are put together from numbers."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import (
    case,
    count,
    defined,
    is_multi_label,
    listed,
    number,
    percent,
    plural,
    share,
    share_text,
    spread,
)
from chiron.report.gallery import Gallery
from chiron.report.words import ROLES

Evaluation = Mapping[str, Any]
SHAREABLE = (
    "Shareable version: without images, names and paths. Counts are rounded down to multiples of 5 and written <5 "
    "below that. Every rate is the exact one, or it is withheld with its reason: the rates of a class with fewer than "
    "5 images in one of its four cells against the rest, or from which such a cell would follow; then also all means "
    "over classes; the accuracy with fewer than 5 right or wrong images and, of two classes, whenever a cell is below "
    "5; and everything below 25 images. Of more than two classes each number is looked at alone. "
    "Prevalences are bounds from the rounded counts; ROC curves are drawn through rounded points. Subgroups other than "
    "by age, sex and skin tone, strata, readers, referral, prediction sets and failed cases as worst case are left out."
)
COMBINED = {
    "mean_logit": "made of the mean of their logits",
    "mean_prob": "made of the mean of their probabilities",
    "max_prob": "their largest probability of the class",
}
LABELED = {"same": "the one that all share", "any_positive": "positive where any is", "most": "the commonest"}
RESEARCH_USE = "Research use only, not a medical device. A model output does not rule out disease."


def question(evaluation: Evaluation) -> str:
    """Which classes are told apart."""
    classes = list(evaluation["classes"])
    positive = evaluation.get("positive_class")
    if positive:
        other = next(name for name in classes if name != positive)
        return f"Tells {positive} (the positive class) from {other}, one {case(evaluation)} at a time."
    if is_multi_label(evaluation):
        one = f"an {case(evaluation)}" if case(evaluation) == "image" else f"a {case(evaluation)}"
        several = f"; {one} can have several or none" * (len(classes) > 1)
        kinds = plural(len(classes), "class", "classes")
        return f"Says of {kinds} whether {one} shows it, one {case(evaluation)} at a time{several}: {listed(classes)}."
    return f"Tells {count(len(classes))} classes apart, one {case(evaluation)} at a time: {listed(classes)}."


def unit(evaluation: Evaluation, context: ReportContext) -> str:
    """What is counted once, and what a group is."""
    text = f"One {case(evaluation)}. {context.grouping.rstrip('.')}."
    if evaluation["num_images"] == evaluation["num_groups"]:
        text += f" Every group has one {case(evaluation)}."
    if case(evaluation) != "image":
        text += f" {combination(evaluation['unit'])}"
    return text


def combination(unit: Mapping[str, Any]) -> str:
    """How images became one answer and one reference label."""
    text = (
        f"{plural(unit['num_images'], 'image')} made {plural(unit['num_units'], unit['name'])}: the output is "
        f"{COMBINED[unit['combine']]}, the reference label {LABELED[unit['label_rule']]}."
    )
    if unit.get("num_without_id"):
        text += f" {plural(unit['num_without_id'], 'image')} without an id of the {unit['name']} count for themselves."
    return text + (f" {unit['note'][0].upper()}{unit['note'][1:]}." if unit.get("note") else "")


def grouping(context: ReportContext) -> str:
    """What a group is and what it guarantees; of a table from elsewhere it is not known to guarantee anything."""
    if not context.splits:
        return f"{context.grouping.rstrip('.')}."
    rule = "Groups never cross splits"
    if context.leaks_accepted:
        rule += ", except for the leaks accepted by name (see limits)"
    return f"{context.grouping.rstrip('.')}. {rule}."


def population(context: ReportContext) -> str:
    """Who is in the data."""
    who = f"{context.population.rstrip('.')}." if context.population else "Not described by the author."
    return f"{who} Data: {context.data_source}."


def not_covered(evaluation: Evaluation, context: ReportContext) -> str:
    """Who and what the numbers say nothing about."""
    parts = ["other sites, devices and populations"] if context.split_scored != "external" else ["yet other sites"]
    parts += [f"findings other than {listed(list(evaluation['classes']))}", "images that could not be read"]
    if context.flow and any(status == "no_reference" for status, _ in context.flow["left_out"]):
        parts.append("images without a reference label")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def decision(evaluation: Evaluation) -> str:
    """How an output becomes a decision, and at which prevalence predictive values hold."""
    positive = evaluation.get("positive_class")
    if is_multi_label(evaluation):
        return (
            "Decisions: every class with an output of 0.5 and more, each for itself; no threshold was fitted. "
            f"Predictive values hold at the prevalence of each class in these {case(evaluation)}s."
        )
    text = "Decisions: the class with the highest output; no threshold was fitted."
    if not positive:
        return text
    prevalence = share_text(evaluation["class_counts"][positive]["prevalence"])
    return f"{text} PPV and NPV hold at the prevalence of these {case(evaluation)}s, {prevalence} {positive}."


def class_shares(evaluation: Evaluation) -> str:
    """Of more than two classes: the share of the images and of the groups; they differ where groups differ in size."""
    if evaluation.get("positive_class"):
        return ""
    parts = []
    if is_multi_label(evaluation):
        shown = [f"{name} {share_text(n['prevalence'])}" for name, n in evaluation["class_counts"].items()]
        return f"Of the {case(evaluation)}s assessed for each: {'; '.join(shown)}."
    for name, counts in evaluation["class_counts"].items():
        text = f"{name} {share_text(counts['prevalence'])} of {case(evaluation)}s"
        if defined(counts["prevalence"]):  # shares of counts that were made coarse would be wrong
            text += f", {share(counts['groups'], evaluation['num_groups'])} of groups"
        parts.append(text)
    return "; ".join(parts) + "."


def scored(evaluation: Evaluation, context: ReportContext) -> str:
    """Images, groups and positives of the split that the numbers come from."""
    images, groups = evaluation["num_images"], evaluation["num_groups"]
    told = context.num_patients is not None and case(evaluation) != "patient"
    patients = f" ({plural(context.num_patients or 0, 'patient')})" if told else ""
    of = f"{plural(images, case(evaluation))} of {plural(groups, 'group')}{patients}"
    text = f"{of}, split: {ROLES[context.split_scored]}"
    positive = evaluation.get("positive_class")
    if not positive:
        return f"{text}."
    counts = evaluation["class_counts"][positive]
    return (
        f"{text}; {plural(counts['images'], 'positive')} ({share_text(counts['prevalence'])}) of "
        f"{plural(counts['groups'], 'group')}."
    )


def looks(context: ReportContext) -> str:
    """How often the test split has been scored."""
    if context.split_scored not in ("test", "external"):
        return ""
    if context.test_looks in ("unknown", None, 0):
        return "Number of looks at these images: unknown."
    return f"Number of looks at these images: {context.test_looks}."


def per_thousand(evaluation: Evaluation) -> list[tuple[str, int]]:
    """Of 1,000 like these: found, missed, falsely alarmed, rightly negative, at the highest output.

    Empty for more than two classes.
    """
    positive = evaluation.get("positive_class")
    confusion = evaluation["confusion_matrix"]
    if "per_thousand" in confusion:  # made from the exact counts, before they were made coarse
        return list(confusion["per_thousand"])
    counts = confusion.get("counts", [])
    if positive is None or not sum(map(sum, counts)):
        return []
    yes = confusion["labels"].index(positive)
    no = 1 - yes
    return thousandths_of([counts[yes][yes], counts[yes][no], counts[no][yes], counts[no][no]])


def thousandths_of(cells: list[int]) -> list[tuple[str, int]]:
    """What found, missed, falsely alarmed and rightly negative ones come to in 1,000."""
    names = ("found", "missed", "falsely alarmed", "rightly negative")
    return list(zip(names, _thousandths(cells, sum(cells)), strict=True))


def _thousandths(counts: list[int], total: int) -> list[int]:
    # Largest remainders, so that the four numbers add up to 1,000.
    floors = [1000 * n // total for n in counts]
    by_remainder = sorted(range(len(counts)), key=lambda place: -(1000 * counts[place] % total))
    for place in by_remainder[: 1000 - sum(floors)]:
        floors[place] += 1
    return floors


def calibration(evaluation: Evaluation) -> str:
    """One sentence: ECE, what a calibrated model would show, and the direction of the error."""
    stored = evaluation.get("calibration") or {}
    ece = stored.get("ece")
    if ece is None and stored.get("note"):
        return f"Calibration is {stored['note']}."
    if ece is None:
        return "Calibration is not defined: the evaluation holds no probabilities."
    text = f"Expected calibration error (ECE) {number(ece)}"
    if is_multi_label(evaluation):
        text = f"All assessed labels of all classes together: expected calibration error (ECE) {number(ece)}"
    if stored.get("ece_bias_corrected") is not None:
        text += f" ({number(stored['ece_bias_corrected'])} after correction for bias)"
    low, high = stored.get("consistency_band") or (None, None)
    if (low is None or high is None) and is_multi_label(evaluation):
        return (
            f"{text}; there is no band of what a calibrated model would show, as the labels of one image are not "
            "independent of each other: the classes have theirs."
        )
    if low is None or high is None:
        return f"{text}; what a calibrated model would show on as many {case(evaluation)}s is not known."
    text += f"; a calibrated model would show {spread(low, high)} on as many {case(evaluation)}s"
    text += f" ({percent(0.05, 0)} to {percent(0.95, 0)})"
    if ece <= high:
        return f"{text}, so these {case(evaluation)}s show no sign of miscalibration."
    return f"{text}, so the probabilities are not calibrated: {_direction(stored)}."


def recalibration(evaluation: Evaluation) -> str:
    """On what calibration, thresholds and prediction sets were fitted again before these cases were scored."""
    found = evaluation.get("recalibration")
    if not found:
        return ""
    size = f"{plural(found['num_units'], found['unit'])} of {plural(found['num_groups'], 'group')}"
    text = f"Recalibrated on {size} of these data (split {found['split']}), which are not scored."
    for question, (before, after) in found["thresholds"].items():
        text += f" The threshold of {question} was {number(before)} and is {number(after)}."
    return text


def failures(gallery: Gallery) -> dict[str, str]:
    """What the gallery shows, out of how many, and how it was chosen; keys: lead, random, confident, pictures."""
    errors, images = plural(gallery.num_errors, "error"), plural(gallery.num_images, gallery.unit)
    kept, drawn = len(gallery.confident), len(gallery.random)
    if gallery.unit == "label":
        lead = "An error is an assessed label on whose other side of 0.5 the output lies; an image can have several. "
    else:
        lead = (
            "An error is an image whose model output, the class with the highest output, is not its reference label. "
        )
    lead += f"{errors} of {images}."
    if gallery.num_errors and not kept + drawn:
        lead += " None is shown here."
    whole = "All" if kept == gallery.num_errors and not drawn else f"{count(kept)} of"
    missing = (
        f"{count(gallery.num_missing)} of the pictures cannot be shown: the image is no longer where it was, or it has "
        "changed since."
    )
    return {
        "lead": lead,
        "random": f"{count(drawn)} of {errors} of {images}, drawn at random: by a hash of the sample id." * bool(drawn),
        "confident": f"{whole} {errors} of {images}: the most confident one of each class first." * bool(kept),
        "pictures": missing * bool(gallery.num_missing),
    }


def confidence_direction(bins: list[Mapping[str, Any]]) -> str:
    """Whether the outputs are on average more or less confident than right."""
    confidence, accuracy = _means(bins)
    return "overconfident" if confidence > accuracy else "underconfident"


def _direction(stored: Mapping[str, Any]) -> str:
    if "direction" in stored:
        return f"on average {stored['direction']}"
    confidence, accuracy = _means(stored["bins"])
    kind = confidence_direction(stored["bins"])
    return f"on average {kind} (mean confidence {number(confidence)}, {number(accuracy)} right)"


def _means(bins: list[Mapping[str, Any]]) -> tuple[float, float]:
    filled = [entry for entry in bins if entry["count"]]
    total = sum(entry["count"] for entry in filled)
    confidence = sum(entry["count"] * entry["confidence"] for entry in filled) / total
    return confidence, sum(entry["count"] * entry["accuracy"] for entry in filled) / total
