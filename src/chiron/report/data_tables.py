"""The flow of images and Table 1, ready to print."""

from collections.abc import Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.flow import EVERYTHING, REASONS
from chiron.report.format import count, number, percent, plural, share, total
from chiron.report.standardized_difference import of_shares
from chiron.report.table_one import MISSING, compared_splits
from chiron.report.words import ROLES


def table_one_rows(context: ReportContext, classes: list[str], *, several: bool = False) -> dict[str, Any]:
    """Table 1: a column a split; sections of rows for totals, classes, and metadata with what is missing.

    Every cell is a value and a second line; both are text. `compared` names the splits of the standardized difference
    that ends a row; it is empty where there are none or where shares must not be told.

    Args:
        several: an image can have several classes or none.
    """
    splits = context.splits
    roles = [role for role in ROLES if role in splits] + [role for role in splits if role not in ROLES]
    sections = [{"title": "", "about": "", "rows": _total_rows(context, roles)}] if context.table_one else []
    told = all(counts.get("share", 0) is not None for role in roles for counts in splits[role].values())
    compared = compared_splits(roles) if told else None
    rows = _class_rows(context, roles, classes, several=several, compared=compared)
    sections.append({"title": "Class", "about": "images; groups, share", "rows": rows})
    for column in (context.table_one or {}).get("columns", []):
        about = "mean (SD)" if column["kind"] == "number" else "images; share of those with a value"
        differences = column.get("differences", {})
        rows = [
            {
                "name": label,
                "cells": [_metadata_cell(column["kind"], label, cells.get(role)) for role in roles],
                "difference": _difference(differences.get(label)),
            }
            for label, cells in column["rows"]
        ]
        sections.append({"title": column["name"], "about": about, "rows": rows})
    return {
        "roles": [ROLES.get(role, role) for role in roles],
        "sections": sections if roles else [],
        "compared": list(compared or ()),
    }


def _difference(value: float | None) -> str:
    return "–" if value is None else number(value, 2)


def _total_rows(context: ReportContext, roles: list[str]) -> list[dict[str, Any]]:
    totals = (context.table_one or {})["splits"]
    rows = []
    for key in ("images", "groups", "patients"):
        found = [totals.get(role, {}).get(key) for role in roles]
        if key != "patients" or any(value is not None for value in found):
            cells = [{"value": "not known" if n is None else count(n), "below": ""} for n in found]
            rows.append({"name": key.capitalize(), "cells": cells, "difference": ""})
    return rows


def _class_rows(
    context: ReportContext, roles: list[str], classes: list[str], *, several: bool, compared: tuple[str, str] | None
) -> list[dict[str, Any]]:
    splits = context.splits
    totals = (context.table_one or {}).get("splits", {})
    sums = {role: total(counts["images"] for counts in splits[role].values()) for role in roles}
    if several:  # an image counts for each of its classes
        sums = {role: totals.get(role, {}).get("images", 0) for role in roles}
    names = classes + [name for role in roles for name in splits[role] if name not in classes]

    def difference(name: str) -> str:
        if compared is None or not all(sums[role] for role in compared):
            return ""
        return _difference(
            of_shares(*(splits[role].get(name, {"images": 0})["images"] / sums[role] for role in compared))
        )

    return [
        {
            "name": name,
            "cells": [_split_cell(splits[role].get(name), sums[role]) for role in roles],
            "difference": difference(name),
        }
        for name in dict.fromkeys(names)
    ]


def _split_cell(counts: Mapping[str, int] | None, images: int) -> dict[str, str]:
    counts = counts or {"images": 0, "groups": 0}
    below = plural(counts["groups"], "group")
    if counts.get("share", 0) is not None:  # None: it must not be told
        below += f", {share(counts['images'], images)}"
    return {"value": count(counts["images"]), "below": below}


def _metadata_cell(kind: str, label: str, cell: Any) -> dict[str, str]:
    if cell is None:
        return {"value": "–", "below": ""}
    if label == MISSING:
        return {"value": count(cell), "below": ""}
    if kind == "number":
        mean, deviation = cell
        return {"value": number(mean, 1), "below": f"({'–' if deviation is None else number(deviation, 1)})"}
    return {"value": count(cell[0]), "below": percent(cell[1])}


def flow_view(context: ReportContext) -> dict[str, Any] | None:
    """The flow of images in words, ready for boxes; None where nothing is known of it."""
    flow = context.flow
    if flow is None:
        return None
    return {
        "found": _numbers(flow["found"]),
        "left_out": [f"{_numbers(numbers)}: {REASONS.get(status, status)}" for status, numbers in flow["left_out"]],
        "usable": _numbers(flow["usable"]),
        "splits": [
            {
                "name": ROLES.get(role, role),
                "numbers": _numbers(numbers),
                "scored": flow["part"] in (role, EVERYTHING),
            }
            for role, numbers in flow["splits"]
        ],
        "scored": _numbers(flow["scored"]),
        "not_scored": plural(flow["not_scored"], "image") if flow["not_scored"] else "",
    }


def _numbers(numbers: Mapping[str, int | None]) -> str:
    groups = numbers.get("groups")
    return plural(numbers["images"] or 0, "image") + ("" if groups is None else f", {plural(groups, 'group')}")
