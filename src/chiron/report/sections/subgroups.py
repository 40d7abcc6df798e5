"""Subgroups and strata: the numbers of parts of the cases, and how large a gap these data leave possible."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import case, count, p_value
from chiron.report.sections.section import Given, Section, Table, estimates_table
from chiron.report.words import word

Evaluation = Mapping[str, Any]

METRICS = ("sensitivity", "specificity", "auroc", "observed_over_expected")
COUNTS_ONLY = "counts only"  # how the note of a group with too few cases begins
MOST_OPEN = 4  # tables; more are closed at first
COMPARED = ("sensitivity", "specificity", "auroc")


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Two tables an attribute and question, numbers and differences; None without any."""
    entries = evaluation.get("subgroups") or []
    if not entries:
        return None
    told = [entry for entry in entries if "groups" in entry]
    absent = [f"{it['attribute']} was planned: {it['note']}." for it in entries if "groups" not in it]
    return Section(
        "subgroups",
        "Subgroups",
        [
            "Each group at the frozen decision, and its difference to all others; limits of the differences of one "
            "attribute hold for all its groups together. Groups with fewer than 10 positives or negatives have counts "
            "only. Missing values are a group. What was not named before the results were seen is exploratory.",
            *absent,
        ],
        [table for entry in told for table in (_numbers(evaluation, entry), _differences(entry))],
        folded=len(told) > MOST_OPEN,
    )


def _numbers(evaluation: Evaluation, entry: Mapping[str, Any]) -> Table:
    columns = [*_counted(evaluation), *(word(key).name for key in METRICS)]
    rows = [(name, "", _part(part)) for name, part in entry["groups"].items()]
    return estimates_table(f"{_title(entry)}.", columns, rows, first=entry["attribute"])


def _differences(entry: Mapping[str, Any]) -> Table:
    gaps = {name: part.get("difference_to_rest", {}) for name, part in entry["groups"].items()}
    return estimates_table(
        f"{_title(entry)}: difference to all others.",
        [word(key).name for key in COMPARED],
        [(name, "", [own.get(key) for key in COMPARED]) for name, own in gaps.items()],
        first=entry["attribute"],
        below=[" ".join([_interaction(entry["interaction"], _kind(entry)), *map(_gap, entry["cannot_be_excluded"])])],
    )


def _title(entry: Mapping[str, Any]) -> str:
    return f"{entry['attribute']}, question {entry['question']} ({_kind(entry)})"


def _kind(entry: Mapping[str, Any]) -> str:
    return "planned" if entry["planned"] else "exploratory"


def _gap(sentence: str) -> str:
    """The sentence with the metric's name for people."""
    key, rest = sentence.split(",", 1)
    return f"{word(key).name.split(' (')[0]},{rest}."


def _interaction(test: Mapping[str, Any], kind: str) -> str:
    if test["p_value"] is None:
        return f"No test of interaction: {test['note']}."
    text = f"One test of interaction ({test['method']}): {p_value(test['p_value'])}"
    if test["p_adjusted"] is not None:
        text += f"; over all {kind} attributes and questions (Holm) {p_value(test['p_adjusted'])}"
    return f"{text}."


def _counted(evaluation: Evaluation) -> list[str]:
    return [f"{case(evaluation).capitalize()}s", "Groups", "Positives", "Negatives"]


def _part(part: Mapping[str, Any]) -> list[Given]:
    counts = [count(part[key]) for key in ("images", "groups", "positives", "negatives")]
    rates: list[Given] = [part.get(key) for key in METRICS]
    if all(isinstance(it, Mapping) and str(it.get("note")).startswith(COUNTS_ONLY) for it in rates):
        rates = [COUNTS_ONLY] * len(METRICS)
    return [*counts, *rates]


def strata(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Results by how the reference label was come by; None where no column says it."""
    entries = evaluation.get("strata") or []
    if not entries:
        return None
    tables = []
    for entry in entries:
        rows = [
            (value, question, _part(part))
            for value, stratum in entry["groups"].items()
            for question, part in stratum["questions"].items()
        ]
        tables.append(
            estimates_table(
                f"By {entry['attribute']}; below each value the question.",
                [*_counted(evaluation), *(word(key).name for key in METRICS)],
                rows,
                first=entry["attribute"],
            )
        )
    return Section(
        "strata",
        "Strata of the reference standard",
        [
            "How a reference label was come by often goes with what it says, so that a stratum may hold one class "
            "only and its numbers are not comparable with those of another."
        ],
        tables,
    )
