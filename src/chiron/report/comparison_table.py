"""A comparison as words and a Markdown table, from its JSON values alone."""

import math
from collections.abc import Mapping
from typing import Any

from chiron.report.format import level, number

HEADER = ("number", "reference", "model", "reference's", "model's", "difference", "p", "adjusted p")


def comparison_rows(numbers: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a comparison, in the columns of `HEADER`; intervals are those of the family where there are several."""
    return [
        (
            row["metric"],
            row["first"],
            row["second"],
            _value(row["first_value"]),
            _value(row["second_value"]),
            difference_text(row),
            _p(row["p_value"]),
            _p(row["adjusted_p"]),
        )
        for row in numbers["comparisons"]
    ]


def difference_text(row: Mapping[str, Any]) -> str:
    """`+0.012 (−0.003 to +0.027)`, of ratios `×1.20 (0.95 to 1.51)`; alone where it has no interval."""
    if row["difference"] is None:
        return "not defined"
    limits = interval_of(row)
    if is_ratio(row):
        ratio = f"×{number(math.exp(row['difference']))}"
        return ratio if limits is None else f"{ratio} ({' to '.join(number(math.exp(limit)) for limit in limits)})"
    plain = _signed(row["difference"])
    return plain if limits is None else f"{plain} ({_signed(limits[0])} to {_signed(limits[1])})"


def is_ratio(row: Mapping[str, Any]) -> bool:
    """Whether the difference is one of logarithms, which is told as the ratio of the two numbers."""
    return row.get("scale") == "log"


def interval_of(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """The limits that the words rest on: the family's, or those of the only comparison."""
    if row["simultaneous"] is not None:
        return row["simultaneous"][0], row["simultaneous"][1]
    return None if row["low"] is None else (row["low"], row["high"])


def words_of(numbers: Mapping[str, Any]) -> list[str]:
    """What may be said, a sentence a comparison, with margins, and for methods how seeds and cases vary."""
    sentences = []
    for row in numbers["comparisons"]:
        sentences.append(row["words"])
        if row["margin"] is not None:
            sentences.append(f"{row['metric']}, margin {row['margin']['margin']:g}: {row['margin']['words']}")
        if numbers["kind"] == "seeds":
            sentences.append(_spread(row))
        if row["note"] and row["note"] not in row["words"]:
            sentences.append(f"{row['metric']}: {row['note']}")
    if numbers["split"] in ("val", "cal"):
        sentences.append(f"{numbers['split']} was used to choose or to fit, so these numbers promise too much.")
    return sentences


def comparison_markdown(numbers: Mapping[str, Any]) -> str:
    """The whole comparison as a page."""
    several = "simultaneous " if numbers["family"]["size"] > 1 else ""
    header = [
        name if name != "difference" else f"difference ({several}{level(numbers['confidence_level'])} CI)"
        for name in HEADER
    ]
    lines = [f"# Comparison: {numbers['question']}", "", cases_line(numbers), ""]
    lines += [_table_line(header), _table_line(["---"] * len(header))]
    lines += [_table_line(row) for row in comparison_rows(numbers)]
    lines += ["", *(f"- {sentence}" for sentence in words_of(numbers)), ""]
    tests = dict.fromkeys(
        f"{row['metric']}: {row['test']}; interval: {row['method']}" for row in numbers["comparisons"]
    )
    lines += [f"How: {numbers['family']['how']}.", *(f"{line}." for line in tests), ""]
    return "\n".join(lines)


def cases_line(numbers: Mapping[str, Any]) -> str:
    """How many cases were compared, and how many were left out."""
    unit = numbers["unit"]
    groups = f"every {unit} its own group" if numbers["num_groups"] is None else f"{numbers['num_groups']:,} groups"
    line = f"{numbers['num_images']:,} {unit}s, {groups}; differences are the model's number less the reference's."
    if numbers["left_out"]:
        left = ", ".join(f"{count:,} of {name}" for name, count in numbers["left_out"].items())
        line += f" Left out, as other tables lack them: {left}."
    return line


def _spread(row: Mapping[str, Any]) -> str:
    sds = [
        f"{name} {_plain(row[key])}"
        for name, key in zip((row["first"], row["second"]), ("first_seed_sd", "second_seed_sd"), strict=True)
    ]
    counts = f"{len(row['first_values'])} and {len(row['second_values'])} seeds"
    of_cases = f"standard error from the cases {_plain(row['case_error'])}"
    return f"{row['metric']}: SD over seeds {', '.join(sds)}; {of_cases} ({counts})"


def _table_line(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _value(value: float | None) -> str:
    return "not defined" if value is None else number(value)


def _plain(value: float | None) -> str:
    return "unknown" if value is None else number(value, 4)


def _signed(value: float) -> str:
    text = number(value)
    return text if text.startswith("−") or float(f"{value:.3f}") == 0 else f"+{text}"


def _p(value: float | None) -> str:
    if value is None:
        return "none"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
