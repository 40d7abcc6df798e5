"""Where a report answers an item of a reporting checklist, decided from what the page has and from nothing else.

A rule looks at `Facts` and gives an `Answer`. Rules never judge whether an item is done well; what only a person can
know is `by the author`. To answer an item from something new, add a rule here and name it in the list of the checklist.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chiron.report.context import ReportContext
from chiron.report.limits_of_data import recorded_characteristics
from chiron.report.table_one import compared_splits

Kind = Literal["evidence", "by the author", "not applicable", "not reported"]


@dataclass(frozen=True)
class Facts:
    """What a rule may look at."""

    evaluation: Mapping[str, Any]
    context: ReportContext
    sections: frozenset[str]  # ids of the page's sections


@dataclass(frozen=True)
class Answer:
    """One of four kinds; `words` say what stands there, or why nothing does; `section` is the id of the evidence."""

    kind: Kind
    words: str = ""
    section: str = ""


Rule = Callable[[Facts], Answer]


def by_author(facts: Facts) -> Answer:
    """What stands in the paper and in no run."""
    return Answer("by the author")


def _evidence(facts: Facts, section: str, words: str, *, if_there: object = True, lacking: str = "") -> Answer:
    if if_there and section in facts.sections:
        return Answer("evidence", words, section)
    return Answer("not reported", lacking)


def intended_use(facts: Facts) -> Answer:
    """The question in the author's words."""
    return _evidence(facts, "glance", "the question", if_there=facts.context.task, lacking="intended_use.question")


def population(facts: Facts) -> Answer:
    """Who is in the data, in the author's words."""
    lacking = "intended_use.population"
    return _evidence(facts, "glance", "population", if_there=facts.context.population, lacking=lacking)


def reference_standard(facts: Facts) -> Answer:
    """How the labels were made, in the author's words."""
    lacking = "intended_use.reference_standard"
    return _evidence(facts, "glance", "reference standard", if_there=facts.context.reference_standard, lacking=lacking)


def data_source(facts: Facts) -> Answer:
    """The data set and how it was read."""
    return _evidence(facts, "data", "source and reader")


def flow(facts: Facts) -> Answer:
    """Images from found to scored, with reasons."""
    return _evidence(facts, "data", "flow of images with reasons", if_there=facts.context.flow)


def partitions(facts: Facts) -> Answer:
    """How many images and groups each split has."""
    return _evidence(facts, "data", "splits", if_there=facts.context.splits, lacking="made from a table of outputs")


def disjoint_level(facts: Facts) -> Answer:
    """At which level splits share nothing."""
    return _evidence(facts, "data", "grouping", if_there=facts.context.splits, lacking="made from a table of outputs")


def characteristics(facts: Facts) -> Answer:
    """Metadata by split."""
    columns = (facts.context.table_one or {}).get("columns")
    return _evidence(facts, "data", "Table 1", if_there=columns, lacking="no metadata with a role that may be shown")


def missing_data(facts: Facts) -> Answer:
    """Missing metadata and images that were left out."""
    columns = (facts.context.table_one or {}).get("columns")
    words = "left-out images; missing values in Table 1" if columns else "left-out images"
    return _evidence(facts, "data", words, if_there=facts.context.flow)


def splits_compared(facts: Facts) -> Answer:
    """Standardized differences between training and scored images."""
    there = compared_splits(list(facts.context.splits))
    return _evidence(facts, "data", "standardized differences in Table 1", if_there=there)


def class_shares(facts: Facts) -> Answer:
    """How frequent each class is."""
    return _evidence(facts, "data", "images and groups of each class")


def clinic_shares(facts: Facts) -> Answer:
    """Class shares beside those of the place of use, as the author stated them."""
    stated = bool(facts.context.clinic_prevalence)
    lacking = "" if stated else "intended_use.prevalence"
    return _evidence(facts, "decisions", "PPV and NPV at the stated prevalence", if_there=stated, lacking=lacking)


def class_imbalance(facts: Facts) -> Answer:
    """Sampler and class weights."""
    return _evidence(facts, "made", "sampler and class weights in the recipe", if_there=facts.context.recipe_text)


def preprocessing(facts: Facts) -> Answer:
    """How pixels are prepared."""
    return _evidence(facts, "made", "the recipe's input", if_there=facts.context.recipe_text)


def model(facts: Facts) -> Answer:
    """The network by name, and its recipe."""
    return _evidence(facts, "glance", "the network", if_there=facts.context.model != "not stated")


def initial_weights(facts: Facts) -> Answer:
    """What training started from."""
    return _evidence(facts, "glance", "what the weights started from", if_there=facts.context.init != "not stated")


def software(facts: Facts) -> Answer:
    """Versions."""
    return _evidence(facts, "made", "versions", if_there=facts.context.environment)


def training(facts: Facts) -> Answer:
    """Recipe and learning curves."""
    return _evidence(facts, "training", "epochs and learning curves; the recipe below")


def selection(facts: Facts) -> Answer:
    """Which split and metric chose the network."""
    return _evidence(facts, "training", "the epoch kept and why", if_there=facts.context.selection_metric)


def ensembling(facts: Facts) -> Answer:
    """Whether several networks answer together."""
    members = (facts.evaluation.get("calibration_fit") or {}).get("num_members", 1)
    if members > 1:
        return _evidence(facts, "calibration", f"{members} networks, cross-fitted")
    return Answer("not applicable", "one network")


def metrics(facts: Facts) -> Answer:
    """Every metric with its meaning."""
    return _evidence(facts, "results", "metrics with their meaning")


def uncertainty(facts: Facts) -> Answer:
    """Intervals and their methods."""
    return _evidence(facts, "results", "intervals, methods and numbers of cases")


def two_by_two(facts: Facts) -> Answer:
    """The counts that rates are made of."""
    return _evidence(facts, "results", "confusion matrix")


def performance(facts: Facts) -> Answer:
    """The numbers by class."""
    return _evidence(facts, "classes", "results by class with intervals")


def operating_point(facts: Facts) -> Answer:
    """How an output becomes a decision, and where that was fixed."""
    fitted = "decisions" in facts.sections
    return _evidence(facts, "decisions" if fitted else "glance", "thresholds" if fitted else "decision rule")


def calibration(facts: Facts) -> Answer:
    """Calibration of the probabilities."""
    return _evidence(facts, "calibration", "calibration error with the band of a calibrated model")


def updating(facts: Facts) -> Answer:
    """Whether the model was changed for these data, or on what scored it; what a bundle came with is no update."""
    if facts.evaluation.get("recalibration"):
        return _evidence(facts, "calibration", "recalibrated on other images of these data, before and after")
    fitted = (facts.evaluation.get("calibration_fit") or {}).get("fitted_on", "none")
    if {"cal": "cal", "reuse_val": "val"}.get(fitted) == facts.context.split_scored:
        return by_author(facts)
    return Answer("not applicable", "nothing was fitted on the scored images")


def clinical_utility(facts: Facts) -> Answer:
    """Net benefit."""
    questions = facts.evaluation.get("questions") or {}
    there = any(it.get("net_benefit") for it in questions.values())
    return _evidence(facts, "decisions", "decision curve", if_there=there)


def subgroups(facts: Facts) -> Answer:
    """Results by attributes of patients."""
    return _evidence(facts, "subgroups", "results by subgroup", lacking="no subgroup was compared")


def indeterminate(facts: Facts) -> Answer:
    """What became of images without a usable output or label."""
    if "worst-case" in facts.sections:
        return _evidence(facts, "worst-case", "counted, and once as errors")
    return flow(facts)


def readers(facts: Facts) -> Answer:
    """Readers beside the model."""
    return _evidence(facts, "readers", "readers against the reference standard", lacking="the table names no reader")


def annotation_variability(facts: Facts) -> Answer:
    """Agreement of readers with the reference standard."""
    return _evidence(facts, "readers", "agreement", lacking="the table names no reader")


def baselines(facts: Facts) -> Answer:
    """Trivial and other models beside this one."""
    return _evidence(facts, "glance", "trivial baseline and models beside this one")


def internal_testing(facts: Facts) -> Answer:
    """Images of the same source that training did not see."""
    if facts.context.split_scored == "external":
        return Answer("not applicable", "this page tells of external testing")
    return _evidence(facts, "results", "internal testing", if_there=facts.context.split_scored == "test")


def external_testing(facts: Facts) -> Answer:
    """Images from elsewhere."""
    there = facts.context.split_scored == "external"
    return _evidence(facts, "results", "external testing", if_there=there, lacking="no external images were scored")


def external_differences(facts: Facts) -> Answer:
    """External images beside those of training."""
    return splits_compared(facts) if facts.context.split_scored == "external" else external_testing(facts)


def failures(facts: Facts) -> Answer:
    """Errors shown."""
    return _evidence(facts, "failures", "random and most confident errors with denominators")


def limitations(facts: Facts) -> Answer:
    """Limits found by rule."""
    return _evidence(facts, "limits", "limits found by rule; the author's own belong beside them")


def not_covered(facts: Facts) -> Answer:
    """Who and what the numbers say nothing about."""
    return _evidence(facts, "glance", "what is not covered")


def command(facts: Facts) -> Answer:
    """How to run it again."""
    return _evidence(facts, "made", "command", if_there=facts.context.command)


def skin_tone(facts: Facts) -> Answer:
    """Whether skin tone is recorded; it is never inferred from pixels."""
    there = "skin tone" in recorded_characteristics(facts.context.columns or [])
    return _evidence(facts, "data", "a column of skin tone", if_there=there, lacking="no such column")


def no_synthetic_images(facts: Facts) -> Answer:
    """Images that were drawn; Chiron makes none for training."""
    return (
        Answer("not applicable", "Chiron trains on no synthetic images") if not _phantoms(facts) else by_author(facts)
    )


def _phantoms(facts: Facts) -> bool:
    return "phantom" in f"{facts.context.data_source} {facts.context.population}".casefold()
