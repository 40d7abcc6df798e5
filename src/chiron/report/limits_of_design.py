"""Limits that follow from how the result was made: splits, looks, selection, training."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import cases, count, is_multi_label, listed, plural, total
from chiron.report.sentences import recalibration

MOST_NAMED = 5
NEARLY_EQUAL = 1.1  # of the largest to the smallest class, below which weights change next to nothing

Evaluation = Mapping[str, Any]


def sanity_run(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The network was trained for a few steps only, to see that everything works."""
    if context.sanity_steps is None:
        return None
    return (
        f"A sanity run: the network was trained for {plural(context.sanity_steps, 'step')} only, to see that all "
        "works. No number here is a result."
    )


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


def split_unknown(evaluation: Evaluation, context: ReportContext) -> str | None:
    """A foreign table does not say which part of the data it holds."""
    if context.split_scored != "unknown":
        return None
    return (
        f"It is not known which split the {cases(evaluation)} belong to: they may have been "
        "used for training or selection."
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


def no_external_data(evaluation: Evaluation, context: ReportContext) -> str | None:
    """All images come from where the training images come from."""
    if context.split_scored in ("external", "unknown"):
        return None
    return (
        f"Internal testing only: all {cases(evaluation)} come from {context.data_source}, "
        "as the training images do. Results at another site, on another device or in another population are not known."
    )


def random_init(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Training began at random weights."""
    if context.init not in ("scratch", "random"):
        return None
    images = total(counts["images"] for counts in context.splits.get("train", {}).values())
    if is_multi_label(evaluation):  # an image counts for each of its classes
        images = (context.table_one or {}).get("splits", {}).get("train", {}).get("images", 0)
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


def imbalance_corrected_twice(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The sampler and the loss both make up for rare classes."""
    if context.sampler == "none" or context.class_weights == "none":
        return None
    return (
        f"Class imbalance was corrected twice (sampler: {context.sampler}, class_weights: {context.class_weights}): "
        "rare classes weigh more than equally, so the network calls them too often."
    )


def fitted_where_selected(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Calibration or a threshold was fitted on the split that chose the network."""
    fitted = {str((evaluation.get("calibration_fit") or {}).get("fitted_on", "none"))}
    fitted |= {it["threshold"]["fitted_on"] for it in (evaluation.get("questions") or {}).values() if it["threshold"]}
    fitted |= {str((evaluation.get("conformal") or {}).get("fitted_on", "none"))}
    if "reuse_val" not in fitted:
        return None
    return (
        "Calibration, thresholds or prediction sets were fitted on val, which also chose the network: what they "
        "promise is optimistic."
    )


def recalibrated(evaluation: Evaluation, context: ReportContext) -> str | None:
    """The decision was fitted again on images of the same data; the bundle as it was given has other numbers."""
    found = evaluation.get("recalibration")
    if not found:
        return None
    return (
        f"{recalibration(evaluation)} Calibration, thresholds and prediction sets are of this place: the numbers are "
        f"not those of the bundle as it was given ({found['former_bundle_id']}), and another place needs a "
        "recalibration of its own."
    )


def probabilities_shifted(evaluation: Evaluation, context: ReportContext) -> str | None:
    """Training saw other class shares than these images have, and nothing corrected the outputs since."""
    told = [
        f"{name}: {value}"
        for name, value in (("sampler", context.sampler), ("class_weights", context.class_weights))
        if value != "none"
    ]
    method = (evaluation.get("calibration_fit") or {}).get("method", "none")
    trained = [counts["images"] for counts in context.splits.get("train", {}).values()]
    is_equal = not is_multi_label(evaluation) and bool(trained) and max(trained) <= NEARLY_EQUAL * min(trained)
    if not told or method not in ("none", "temperature") or is_equal:
        return None
    since = "without calibration since" if method == "none" else "and one temperature cannot mend that"
    if is_multi_label(evaluation):
        return (
            f"Trained as if every class were present in half of the images ({listed(told)}), {since}: the "
            "probabilities of rare classes are too high. They rank images; they are not risks."
        )
    return (
        f"Trained as if all classes were equally frequent ({listed(told)}), {since}: the "
        "probabilities of rare classes are too high. They rank images; they are not risks."
    )
