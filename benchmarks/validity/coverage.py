"""How often the intervals hold the true value: the simulation behind `chiron/metrics/intervals/coverage.csv`.

    python benchmarks/validity/coverage.py run RESULTS.jsonl --sets 400 --largest 600
    python benchmarks/validity/coverage.py run RESULTS.jsonl --sets 2000 --only-close
    python benchmarks/validity/coverage.py data RESULTS.jsonl     writes the table that Chiron reads, and its page

A line of RESULTS.jsonl is one batch of sets of one cell; batches that stand there are not made again, so that a run can
be stopped. After a change of a method or of `DRAWS` start another file. `--only-close` adds sets where a default method
inside its region lies within three standard errors of the limit. One core, 40 ms a set of 50 images, 0.4 s of 2,000.
"""

import argparse
import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from coverage_page import PAGE, page
from scipy import special
from simulated_sets import (
    AUROC_OF_LEVEL,
    SPREAD_OF_SHAPE,
    Cell,
    draw,
    draw_calibrated,
    random_of,
    true_net_benefit,
    truth,
)

from chiron.core.files import write_text
from chiron.metrics.calibration import calibration_bins, consistency_band, expected_calibration_error
from chiron.metrics.cases import Cases
from chiron.metrics.estimate import Estimate
from chiron.metrics.estimator import Estimator
from chiron.metrics.intervals import coverage as shipped
from chiron.metrics.intervals.auroc import placements, plain_delong_limits
from chiron.metrics.intervals.bootstrap import bca_limits, percentile_limits
from chiron.metrics.intervals.proportion import wilson
from chiron.metrics.metric import Family, Metric, metrics_for
from chiron.metrics.net_benefit import net_benefits
from chiron.metrics.statistics import StatisticKey

BATCH = 50
NUM_RESAMPLES = 1000
TREATED_FROM = 0.2  # at 20 % positive, treating all is worth as much as treating none: the hardest place for a gain
Z95 = float(special.ndtri(0.975))
Limits = tuple[float | None, float | None]


def cells() -> list[Cell]:
    """All conditions, the quickest first."""
    two = [
        Cell(size, prevalence, level, shape)
        for size, prevalence, level, shape in product((50, 150, 600), (0.1, 0.2, 0.5), AUROC_OF_LEVEL, SPREAD_OF_SHAPE)
    ]
    in_groups = [
        Cell(groups, 0.3, level, shape, correlation)
        for groups, correlation, level, shape in product(
            (30, 50, 100, 300), (0.3, 0.7), AUROC_OF_LEVEL, SPREAD_OF_SHAPE
        )
    ]
    several = [Cell(size, level=level, classes="three") for size in (300, 600) for level in AUROC_OF_LEVEL]
    several += [Cell(100, level=level, classes="three", correlation=0.7) for level in AUROC_OF_LEVEL]
    several += [Cell(2000, level=level, classes="seven") for level in AUROC_OF_LEVEL]
    calibrated = [Cell(size, 0.5, level, "calibrated") for size in (50, 150, 600, 2000) for level in AUROC_OF_LEVEL]
    large = [Cell(2000, *rest) for rest in product((0.1, 0.2, 0.5), AUROC_OF_LEVEL, SPREAD_OF_SHAPE)]
    return [*two, *in_groups, *several, *calibrated, *large]


@cache  # looking for metrics takes longer than a small set
def _metrics(num_classes: int) -> dict[str, Metric]:
    return metrics_for(num_classes)


def questions(cell: Cell) -> Iterator[tuple[str, StatisticKey, Callable[[Estimator], Estimate], Metric]]:
    """Every number of the cell: its name, where its values stand, how its estimate is asked for, and its metric."""
    two = cell.classes == "two"
    for metric in _metrics(len(cell.shares)).values():
        if metric.family == Family.CALIBRATION:
            continue
        if metric.is_overall:
            yield metric.key, (metric.key, None), lambda it, m=metric: it.overall(m), metric
        elif two:
            name = metric.positive_key or metric.key
            yield name, (metric.key, 1), lambda it, m=metric: it.one_class(m, 1), metric
        for _, key in metric.averages:
            if key == "macro_f1" or not (
                two or key in dict(metric.same_as) or len(cell.shares) < metric.averages_from_classes
            ):
                yield key, (key, None), lambda it, m=metric, k=key: it.average(m, k), metric


def other_methods(it: Estimator, key: StatisticKey, metric: Metric) -> dict[str, Limits]:
    """What plainer methods would say: percentile, BCa alone, and for groups the methods that ignore them."""
    value, resampled, left_out = it.resampled(key)
    defined = resampled[np.isfinite(resampled)]
    limits: dict[str, Limits] = {}
    if len(defined):
        limits["percentile"] = percentile_limits(defined)
        limits["BCa"] = bca_limits(value, defined, left_out) or (None, None)
    cases = it.cases
    if metric.family == Family.AUROC and key[1] is not None:
        placed = placements(cases.y_true == key[1], cases.y_prob[:, key[1]], cases.group_index)
        limits["plain DeLong"] = plain_delong_limits(placed)
    if metric.key == "accuracy":
        right = int((cases.y_true == cases.y_pred).sum())
        limits["Wilson without groups"] = wilson(right, cases.num_images, quantile=Z95)
    return limits


def simulate(cell: Cell, first: int, num_sets: int) -> dict[str, list[float]]:
    """Counts over the sets: of all, inside the region, null, held, held by too low limits, and the sum of widths."""
    if cell.shape == "calibrated":
        return _simulate_band(cell, first, num_sets)
    counts: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros(6))
    true = truth(cell)
    for seed in range(first, first + num_sets):
        cases = draw(cell, random_of(cell, seed))
        it = Estimator(cases, _metrics(len(cell.shares)), num_resamples=NUM_RESAMPLES, confidence=0.95, seed=seed)
        for name, key, ask, metric in questions(cell):
            estimate = ask(it)
            if estimate.value is None:
                continue
            inside = _is_inside(estimate)
            methods = {"default": (estimate.low, estimate.high)}
            if cell.shape == "equal":
                methods |= other_methods(it, key, metric)
            for method, limits in methods.items():
                counts[f"{name}|{method}"] += _count(limits, true[key], inside)
        for name, (estimate, value) in _net_benefit(cell, cases, seed).items():
            counts[f"{name}|default"] += _count((estimate.low, estimate.high), value, _is_inside(estimate))
    return {name: [round(float(it), 6) for it in counted] for name, counted in counts.items()}


def _net_benefit(cell: Cell, cases: Cases, seed: int) -> dict[str, tuple[Estimate, float]]:
    """What is told of net benefit at one threshold, with its true values; nothing where a set has one class alone."""
    positive = cases.y_true == 1
    if cell.classes != "two" or positive.all() or not positive.any():
        return {}
    arrays = (cases.y_prob[:, 1], positive, cases.group_index.tolist())
    found = net_benefits(*arrays, thresholds=[TREATED_FROM], num_resamples=NUM_RESAMPLES, seed=seed)[0]
    names = ("net_benefit", "net_benefit_of_treating_all", "net_benefit_over_default")
    told = (found.model, found.treat_all, found.over_default)
    return dict(zip(names, zip(told, true_net_benefit(cell, TREATED_FROM), strict=True), strict=True))


def _is_inside(estimate: Estimate) -> bool:
    return "too few" not in (estimate.note or "")


def _count(limits: Limits, true: float, inside: bool) -> np.ndarray:
    low, high = limits
    if low is None or high is None:
        return np.array([1, inside, 1, 0, 0, 0], dtype=np.float64)
    return np.array([1, inside, 0, low <= true <= high, true > high, high - low], dtype=np.float64)


def _simulate_band(cell: Cell, first: int, num_sets: int) -> dict[str, list[float]]:
    """How often a calibrated model's error lies below the upper limit of the consistency band."""
    counted = np.zeros(6)
    for seed in range(first, first + num_sets):
        cases: Cases = draw_calibrated(cell, random_of(cell, seed))
        confidence = cases.y_prob.max(axis=1)
        error = expected_calibration_error(calibration_bins(confidence, cases.y_pred == cases.y_true))
        band = consistency_band(confidence, num_simulations=NUM_RESAMPLES, seed=seed)
        counted += _count((0.0, band.ece_high), error, True)
    return {"ece|default": [round(float(it), 6) for it in counted]}


def run(out: Path, num_sets: int, *, largest: int, only_close: bool) -> None:
    """Adds batches until every cell of at most `largest` images or groups (or every close one) has its sets."""
    for number in range(0, num_sets, BATCH):
        done = {(line["cell"], line["first"]) for line in _lines(out)}
        close = {row["cell"] for row in rows(out) if _is_close(row)} if only_close else set()
        for cell in cells():
            name = json.dumps(asdict(cell))
            if cell.size <= largest and (name, number) not in done and (not only_close or name in close):
                line = {"cell": name, "first": number, "counts": simulate(cell, number, BATCH)}
                with out.open("a") as stream:
                    stream.write(json.dumps(line) + "\n")


def rows(results: Path) -> list[dict]:
    """A row for each cell, metric and method."""
    sums: defaultdict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(6))
    simulated: defaultdict[str, int] = defaultdict(int)
    for line in _lines(results):
        simulated[line["cell"]] += BATCH
        for name, counted in line["counts"].items():
            sums[line["cell"], name] += counted
    made = []
    for (cell, name), (sets, inside, null, held, above, width) in sums.items():
        metric, method = name.split("|")
        limited = max(sets - null, 1)
        numbers = {"sets": int(sets), "null": int(null), "coverage": held / limited, "truth_above": above / limited}
        region = inside >= shipped.INSIDE_SHARE * simulated[cell]  # so that the value is defined in as many, too
        made.append(
            {"cell": cell, "metric": metric, "method": method, **numbers, "width": width / limited, "inside": region}
        )
    return made


def _is_close(row: dict) -> bool:
    margin = abs(row["coverage"] - shipped.LIMIT)
    return row["method"] == "default" and row["inside"] and margin < 3 * shipped.simulation_error(row["sets"])


def write_data(results: Path) -> None:
    """The table that Chiron reads and the page about it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(shipped.COLUMNS)
    made = rows(results)
    inside = {(row["cell"], row["metric"]) for row in made if row["method"] == "default" and row["inside"]}
    for row in made:
        if row["method"] != "default" and (row["cell"], row["metric"]) not in inside:
            continue  # plainer methods are compared inside the region of the default
        cell = json.loads(row["cell"])
        unit = "images" if cell["correlation"] is None else "groups"
        of_cell = (
            unit,
            cell["size"],
            cell["classes"],
            cell["prevalence"],
            cell["level"],
            cell["shape"],
            cell["correlation"],
        )
        numbers = (
            row["sets"],
            row["null"],
            f"{row['coverage']:.4f}",
            f"{row['truth_above']:.4f}",
            f"{row['width']:.4g}",
        )
        writer.writerow([row["metric"], row["method"], *of_cell, *numbers, int(row["inside"])])
    write_text(shipped.path(), text.getvalue())
    shipped.simulated.cache_clear()
    write_text(PAGE, page())


def _lines(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "data"))
    parser.add_argument("results", type=Path)
    parser.add_argument("--sets", type=int, default=400, help="of every cell")
    parser.add_argument("--largest", type=int, default=2000, help="cells of at most so many images or groups")
    parser.add_argument("--only-close", action="store_true", help="cells near the limit alone")
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.results, asked.sets, largest=asked.largest, only_close=asked.only_close)
    else:
        write_data(asked.results)
