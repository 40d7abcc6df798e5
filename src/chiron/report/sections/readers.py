"""Readers beside the model, on the cases that each of them answered."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import count, p_value
from chiron.report.sections.section import Given, Section, estimates_table

Evaluation = Mapping[str, Any]


def section(evaluation: Evaluation, context: ReportContext) -> Section | None:
    """Points, agreement and paired tests of every reader; None without readers."""
    entries = evaluation.get("readers") or []
    if not entries:
        return None
    points, agreements, tests = _points(entries), _agreements(entries), _tests(entries)
    notes = [f"{it['reader']} was not compared: {it['note']}." for it in entries if it.get("note")]
    tables = []
    if points:
        columns = ["Cases", "Sensitivity", "of the model", "Specificity", "of the model"]
        caption = "Readers and the model on the same cases, at each reader's answer; the model at its frozen decision."
        tables.append(estimates_table(caption, columns, points, first="Reader"))
    if agreements:
        caption = "Agreement (Cohen's kappa)."
        columns = ["Cases", "with the reference standard", "with the model"]
        tables.append(estimates_table(caption, columns, agreements, first="Reader"))
    if tests:
        columns = [
            "Only the model right",
            "Only the reader right",
            "Model − reader",
            "Test alone",
            "All tests (Holm)",
            "Method",
        ]
        caption = "Paired tests of the model against each reader; Holm's adjustment is over all of them."
        tables.append(estimates_table(caption, columns, tests, first="Reader"))
    return Section("readers", "Readers", notes, tables)


def _who(entry: Mapping[str, Any]) -> str:
    return "all classes" if entry.get("question") is None else str(entry["question"])


def _points(entries: list[Mapping[str, Any]]) -> list[tuple[str, str, list[Given]]]:
    rows: list[tuple[str, str, list[Given]]] = []
    for entry in entries:
        for point in entry.get("points", []):
            about = _who(entry) + (f", rating from {point['from']:g}" if "from" in point else "")
            model = entry["model"]
            cells: list[Given] = [count(entry["images"])]
            for key in ("sensitivity", "specificity"):
                cells += [point[key], model[key]]
            rows.append((entry["reader"], about, cells))
    return rows


def _agreements(entries: list[Mapping[str, Any]]) -> list[tuple[str, str, list[Given]]]:
    return [
        (it["reader"], _who(it), [count(it["images"]), it["kappa_with_reference"], it["kappa_with_model"]])
        for it in entries
        if "kappa_with_reference" in it
    ]


def _tests(entries: list[Mapping[str, Any]]) -> list[tuple[str, str, list[Given]]]:
    rows: list[tuple[str, str, list[Given]]] = []
    for entry in entries:
        for side, test in entry.get("model_against_reader", {}).items():
            if test is None:
                continue
            alone = (test["model_only_right"], test["reader_only_right"])  # null of a rating, which has no right
            cells: list[Given] = ["–" if number is None else count(number) for number in alone]
            how = "Bonett-Price" if None not in alone else test["method"]
            limits = {"low": test["low"], "high": test["high"], "method": how, "note": test.get("note")}
            cells.append({"value": test["difference"], **limits})
            cells += [p_value(test["p_value"]), p_value(test["p_adjusted"]), test["method"]]
            rows.append((entry["reader"], f"{_who(entry)}, {side}", cells))
    return rows
