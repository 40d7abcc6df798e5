"""Cases without a usable answer: how many there are, and the numbers if every one of them were wrong."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.flow import REASONS
from chiron.report.format import count, listed, plural
from chiron.report.sections.section import Given, Section, estimates_table

Evaluation = Mapping[str, Any]


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """None where every case was read and has its reference label."""
    found = evaluation.get("worst_case") or {}
    failed = {name: n for name, n in found.get("statuses", {}).items() if name != "ok" and n}
    if not failed:
        return None
    told = listed([f"{plural(n, 'case')} {REASONS.get(name, name)}" for name, n in failed.items()])
    sentences = [f"Without an answer that was scored: {told}."]
    rows: list[tuple[str, str, list[Given]]] = []
    notes = []
    for name, it in found["questions"].items():
        counts = [count(it["failed_positives"]), count(it["failed_negatives"])]
        keys = ("sensitivity", "sensitivity_worst", "specificity", "specificity_worst")
        rows.append((name, "", [*counts, *(it[key] for key in keys)]))
        if it.get("note") and it["note"] not in notes:
            notes.append(it["note"])
    tables = []
    if rows:
        columns = ["Failed positives", "Failed negatives", "Sensitivity", "at worst", "Specificity", "at worst"]
        as_wrong = listed([REASONS.get(name, name) for name in found["counted_as_wrong"]])
        caption = f"As scored, and at worst: with every case counted as wrong that {as_wrong}."
        below = [f"{note[0].upper()}{note[1:]}." for note in notes]
        tables.append(estimates_table(caption, columns, rows, first="Question", below=below))
    return Section("worst-case", "Failed and indeterminate cases", sentences, tables)
