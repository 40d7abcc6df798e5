"""Rows of the report's tables, ready to print."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.format import (
    Estimate,
    case,
    count,
    defined,
    has_interval,
    interval_text,
    is_multi_label,
    number,
    value_text,
)
from chiron.report.words import (
    DECISIONS,
    DECISIONS_OF_SEVERAL,
    MEANINGS_OF_SEVERAL,
    PER_CLASS,
    PER_CLASS_OF_SEVERAL,
    Word,
    grouped_keys,
    init_text,
    word,
)

Evaluation = Mapping[str, Any]


def headline_key(evaluation: Evaluation) -> str:
    """The metric of the first page: AUROC of the positive class, or its mean over the classes."""
    return "auroc" if evaluation.get("positive_class") else "macro_auroc"


def headline_companions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """What the headline alone would hide: all sides of the decision, or the class that the model finds least often."""
    positive = evaluation.get("positive_class")
    if positive:
        return [
            {"name": word(key).name, "estimate": evaluation["overall"][key]}
            for key in ("sensitivity", "specificity", "ppv", "npv")
        ]
    if is_multi_label(evaluation):
        return [*_lowest(evaluation, "auroc", "AUROC"), *_lowest(evaluation, "sensitivity", "sensitivity at 0.5")]
    return _lowest(evaluation, "sensitivity", "sensitivity")


def _lowest(evaluation: Evaluation, key: str, name: str) -> list[dict[str, Any]]:
    """The class with the lowest value of a metric."""
    found = {name: evaluation["per_class"][name][key] for name in evaluation["classes"]}
    if any(estimate.get("withheld") for estimate in found.values()):  # which one is lowest cannot be told
        return []
    found = {name: estimate for name, estimate in found.items() if defined(estimate)}
    if not found:
        return []
    lowest = min(found, key=lambda name: found[name]["value"])
    return [{"name": f"Lowest {name}: {lowest}", "estimate": found[lowest]}]


def cell(estimate: Estimate, words: Word) -> dict[str, Any]:
    """One estimate as a table shows it; `range` is the drawn interval on 0 to 1, None where it cannot be drawn."""
    drawable = words.unit_interval and has_interval(estimate)
    ends = (estimate["low"], estimate["value"], estimate["high"]) if drawable else ()
    return {
        "value": value_text(estimate),
        "interval": interval_text(estimate) if has_interval(estimate) else "no interval",
        "defined": defined(estimate),
        "method": estimate.get("method") or "–",
        "images": _count(estimate.get("num_images")),
        "groups": _count(estimate.get("num_groups")),
        "positive_groups": _count(estimate.get("num_positive_groups")),
        "note": (estimate.get("note") or "") if defined(estimate) else "",  # an undefined value says its reason itself
        "mark": "",  # letter of a note below the table
        "range": [round(100 * min(max(end, 0), 1), 1) for end in ends] or None,
    }


def _count(value: int | None) -> str:
    return "–" if value is None else count(value)


class Footnotes:
    """Letters for the notes of one table; equal notes share a letter."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def mark(self, note: str) -> str:
        """The letter of a note, empty without a note."""
        if note and note not in self._notes:
            self._notes.append(note)
        return _letter(self._notes.index(note)) if note else ""

    def listed(self) -> list[tuple[str, str]]:
        """Letters and notes in the order of their first use."""
        return [(_letter(place), note) for place, note in enumerate(self._notes)]


def _letter(place: int) -> str:
    return chr(ord("a") + place) if place < 26 else _letter(place // 26 - 1) + _letter(place % 26)


def overall_table(evaluation: Evaluation) -> dict[str, Any]:
    """The overall metrics under their headings, and the notes below the table."""
    overall, footnotes, groups = evaluation["overall"], Footnotes(), []
    for title, keys in grouped_keys(list(overall)):
        rows = []
        for key in keys:
            entry = cell(overall[key], word(key))
            meaning = MEANINGS_OF_SEVERAL.get(key) if is_multi_label(evaluation) else None
            words = word(key)
            words = replace(words, meaning=(meaning or words.meaning).replace("image", case(evaluation)))
            rows.append({**entry, "words": words, "mark": footnotes.mark(entry["note"])})
        if title == DECISIONS and is_multi_label(evaluation):
            title = DECISIONS_OF_SEVERAL
        groups.append({"title": title, "rows": rows})
    return {"groups": groups, "notes": footnotes.listed()}


def class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Images, groups and share of every class."""
    return [
        {
            "name": name,
            "positive": name == evaluation.get("positive_class"),
            "images": count(counts["images"]),
            "groups": count(counts["groups"]),
            "assessed": count(counts["assessed"]) if "assessed" in counts else "",
            "prevalence": cell(counts["prevalence"], Word("Prevalence", "")),
        }
        for name, counts in evaluation["class_counts"].items()
    ]


def per_class_table(evaluation: Evaluation) -> dict[str, Any]:
    """Rows of classes, columns of metrics; the method of every column, and notes under letters below."""
    footnotes, keys = Footnotes(), PER_CLASS_OF_SEVERAL if is_multi_label(evaluation) else PER_CLASS
    rows: list[dict[str, Any]] = []
    methods: dict[str, list[str]] = {key: [] for key in keys}
    for name in evaluation["classes"]:
        results = evaluation["per_class"][name]
        cells = []
        for key in keys:
            entry = cell(results[key], word(key))
            entry["mark"] = footnotes.mark(entry["note"])
            if defined(results[key]) and entry["method"] not in methods[key]:
                methods[key].append(entry["method"])
            cells.append(entry)
        support = {key: count(value) for key, value in results["support"].items()}
        rows.append({"name": name, "assessed": "", **support, "cells": cells})
    return {
        "columns": [word(key) for key in keys],
        "rows": rows,
        "methods": [f"{word(key).name}: {', '.join(methods[key])}" for key in keys if methods[key]],
        "notes": footnotes.listed(),
    }


def decision_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    """The four cells of every class, where an image can have several."""
    tables = evaluation["confusion_matrix"].get("by_class", {})
    return [{"name": name, **{kind: count(cells[kind]) for kind in cells}} for name, cells in tables.items()]


def comparison_rows(evaluation: Evaluation, context: ReportContext) -> dict[str, Any]:
    """This model, the models beside it, and the constant answer, on the metrics of the first page."""
    several = is_multi_label(evaluation)
    decisions = ["macro_average_precision", "exact_match"] if several else ["accuracy", "balanced_accuracy"]
    keys = [headline_key(evaluation), *decisions]
    models = [{"name": context.title, "params": context.num_parameters, "init": context.init, "evaluation": evaluation}]
    rows = [
        {
            "name": row["name"],
            "about": _about(row.get("params"), row.get("init")),
            "cells": [_or_absent(row["evaluation"]["overall"], key) for key in keys],
            "this": place == 0,
        }
        for place, row in enumerate([*models, *context.others])
    ]
    rows.append(_constant_answer(evaluation))
    return {"columns": [word(key) for key in keys], "rows": rows, "methods": _methods(evaluation, keys)}


def _constant_answer(evaluation: Evaluation) -> dict[str, Any]:
    """The trivial baseline, in the columns of the comparison."""
    constant = {"defined": True, "interval": "by definition", "method": "", "range": None, "note": "", "mark": ""}
    if is_multi_label(evaluation):
        same = evaluation["baselines"]["constant"]["exact_match"]
        shares = [counts["prevalence"] for counts in evaluation["class_counts"].values()]
        told = number(sum(it["value"] for it in shares) / len(shares)) if all(map(defined, shares)) else "–"
        return {
            "name": "The commoner answer for every class",
            "about": "trivial baseline: the same for every image",
            "cells": [
                {**constant, "value": number(0.5)},
                {**constant, "value": told, "interval": "mean prevalence"},
                cell(same, word("exact_match")),
            ],
            "this": False,
        }
    majority = evaluation["baselines"]["majority_class"]
    return {
        "name": f"Always “{majority['class']}”",
        "about": "trivial baseline: the most frequent class",
        "cells": [
            {**constant, "value": number(0.5)},
            cell(majority["accuracy"], word("accuracy")),
            {**constant, "value": number(majority["balanced_accuracy"]["value"])},
        ],
        "this": False,
    }


def _or_absent(overall: Mapping[str, Estimate], key: str) -> dict[str, Any]:
    absent = {"value": None, "note": f"its evaluation has no {word(key).name}"}
    return cell(overall.get(key, absent), word(key))


def _methods(evaluation: Evaluation, keys: list[str]) -> list[str]:
    return [f"{word(key).name}: {evaluation['overall'][key].get('method') or '–'}" for key in keys]


def _about(params: int | None, init: str | None) -> str:
    parts = [f"{count(params)} parameters" if params else "", f"init: {init_text(init)}" if init else ""]
    return ", ".join(part for part in parts if part)


def environment_rows(environment: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of a nested mapping, one row a leaf, in its own order."""
    rows: list[tuple[str, str]] = []
    for key, value in environment.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += environment_rows(value, f"{name}.")
        else:
            rows.append((name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return rows
