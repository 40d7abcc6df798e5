"""What a simulation found: how often each default interval held the true value, by number of images or groups.

The table lies beside this file; `benchmarks/validity/coverage.py` makes it.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

LIMIT = 0.935  # a 95 % interval is to hold the true value at least this often, less three simulation errors
# Counts of independent images are whole, so that no interval of a share holds every true share as often: Wilson's does
# on average, and the worst share in 84 of 100 sets of ten (by exact enumeration: docs/reference/validity/intervals.md).
COUNTED = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "top_3_accuracy", "top_5_accuracy")
LIMIT_OF_COUNTED = 0.83
INSIDE_SHARE = 0.9  # a cell lies inside a region when nine of ten of its sets do
CONSERVATIVE = 0.97  # coverage from which on an interval is called so
COLUMNS = (
    *("metric", "method", "unit", "size", "classes", "prevalence", "level", "shape", "correlation"),
    *("sets", "null", "coverage", "truth_above", "width", "inside"),
)


@dataclass(frozen=True)
class Simulated:
    """One metric and method in one cell of the simulation.

    `size` counts images, or groups where `correlation` is given; `null` counts sets without an interval; `truth_above`
    is the share of sets whose interval lies below the true value; `inside` says that nine of ten sets lie inside the
    method's region.
    """

    metric: str
    method: str
    unit: str
    size: int
    classes: str
    prevalence: float | None
    level: str
    shape: str
    correlation: float | None
    sets: int
    null: int
    coverage: float
    truth_above: float
    width: float
    inside: bool

    @property
    def passes(self) -> bool:
        """True where the interval held the true value as often as it is to."""
        return self.coverage >= self.limit - 3 * simulation_error(self.sets - self.null, self.limit)

    @property
    def limit(self) -> float:
        """How often it is to hold the true value, but for the simulation's error."""
        return LIMIT_OF_COUNTED if self.metric in COUNTED and self.unit == "images" else LIMIT

    @property
    def is_conservative(self) -> bool:
        """True where it held it more often than it says, so that it is wider than it needs to be."""
        return self.coverage >= CONSERVATIVE


def simulation_error(num_sets: int, limit: float = LIMIT) -> float:
    """Standard error of a coverage at the limit."""
    return float(np.sqrt(limit * (1 - limit) / max(1, num_sets)))


def path() -> Path:
    """Where the table lies."""
    return Path(str(files("chiron.metrics.intervals").joinpath("coverage.csv")))


@cache
def simulated() -> tuple[Simulated, ...]:
    """All rows of the table."""
    with path().open(encoding="utf-8", newline="") as stream:
        return tuple(_row(line) for line in csv.DictReader(stream))


def coverage_of(metric: str, *, num_images: int, num_groups: int) -> Simulated | None:
    """The lowest coverage of a metric's default interval among the simulated cells nearest in size; None without any.

    Cells whose images come in groups stand for data whose images do, and only cells inside the method's region count.

    Args:
        metric: key among an evaluation's overall numbers, for example "auroc" or "macro_f1".
    Example:
        >>> coverage_of("auroc", num_images=160, num_groups=160).size
        150
    """
    unit, size = ("groups", num_groups) if num_groups < num_images else ("images", num_images)
    found = [
        row for row in simulated() if (row.metric, row.method, row.unit) == (metric, "default", unit) and row.inside
    ]
    if not found:
        return None
    nearest = min((row.size for row in found), key=lambda other: abs(np.log(other / size)))
    return min((row for row in found if row.size == nearest), key=lambda row: row.coverage)


def _row(line: dict[str, str]) -> Simulated:
    return Simulated(
        metric=line["metric"],
        method=line["method"],
        unit=line["unit"],
        size=int(line["size"]),
        classes=line["classes"],
        prevalence=float(line["prevalence"]) if line["prevalence"] else None,
        level=line["level"],
        shape=line["shape"],
        correlation=float(line["correlation"]) if line["correlation"] else None,
        sets=int(line["sets"]),
        null=int(line["null"]),
        coverage=float(line["coverage"]),
        truth_above=float(line["truth_above"]),
        width=float(line["width"]),
        inside=line["inside"] == "1",
    )
