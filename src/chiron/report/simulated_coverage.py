"""How often intervals of these methods held the true value in simulated test sets of about this size."""

from collections.abc import Mapping
from typing import Any

from chiron.metrics.intervals.coverage import Simulated, coverage_of, simulation_error
from chiron.report.format import case, count, has_interval, listed, number, percent, plural
from chiron.report.words import word

SHOWN = (
    *("auroc", "macro_auroc", "average_precision", "macro_average_precision", "sensitivity", "specificity"),
    *("ppv", "npv", "accuracy", "balanced_accuracy", "macro_f1", "f1", "mcc", "brier", "log_loss"),
)
LEVEL = 0.95  # of the simulated intervals
OUTSIDE = "too few cases"  # how the note of an interval begins that lies outside the simulated region

Evaluation = Mapping[str, Any]


def coverage_sentences(evaluation: Evaluation) -> str:
    """The simulated coverage of the main metrics' intervals, with how sure it is; empty where none was simulated."""
    if evaluation["confidence_level"] != LEVEL:
        return ""
    found: dict[tuple[str, int], dict[str, Simulated]] = {}
    for key in _reliable(evaluation):
        sizes = {"num_images": evaluation["num_images"], "num_groups": evaluation["num_groups"]}
        if (row := coverage_of(key, **sizes)) is not None:
            found.setdefault((row.unit, row.size), {})[key] = row
    if not found:
        return ""
    parts = [f"{_cases(evaluation, *size)}: {_numbers(rows)}" for size, rows in found.items()]
    every = [row for rows in found.values() for row in rows.values()]
    least = min(row.sets - row.null for row in every)
    error = number(100 * simulation_error(least), 1)
    return (
        f"How often such intervals hold. In simulated test sets nearest in size, {percent(LEVEL, 0)} intervals held "
        f"the true value in this share of sets, in the least favorable of the kinds tried. {'. '.join(parts)}. With "
        f"{plural(least, 'set')} a kind a share has a standard error of about {error} points, and the least of many "
        "lies lower by chance alone. These cases may be unlike all that was simulated."
    )


def _reliable(evaluation: Evaluation) -> list[str]:
    """Metrics with an interval inside its region of validity: what was simulated speaks of no other."""
    overall = evaluation["overall"]
    return [
        key
        for key in SHOWN
        if has_interval(overall.get(key, {})) and not str(overall[key].get("note") or "").startswith(OUTSIDE)
    ]


def _cases(evaluation: Evaluation, unit: str, size: int) -> str:
    if unit == "groups":
        return f"{count(size)} groups of several {case(evaluation)}s"
    return f"{count(size)} independent {case(evaluation)}s"


def _numbers(rows: Mapping[str, Simulated]) -> str:
    return listed([f"{word(key).name} {percent(row.coverage)}" for key, row in rows.items()])
