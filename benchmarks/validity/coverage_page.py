"""The reference page about coverage, made of the table that Chiron reads.

`benchmarks/validity/coverage.py data` writes it; `tests/docs/test_coverage_page.py` holds it to the table.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from scipy import special

from chiron.metrics.intervals.coverage import (
    CONSERVATIVE,
    LIMIT,
    LIMIT_OF_COUNTED,
    Simulated,
    simulated,
    simulation_error,
)
from chiron.metrics.intervals.proportion import clopper_pearson, wilson

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "validity" / "intervals.md"
Z95 = float(special.ndtri(0.975))
SHARES = np.arange(1, 1000) / 1000
# To be emptied when every cell has 400 sets or more.
NOT_YET = """

300 to 400 sets a cell, so that three standard errors are about 4 points: a method that holds the true value in 91 % of
the sets may not be found yet. The commands below add sets to what stands in RESULTS.jsonl."""

INTRODUCTION = f"""\
# How often the intervals hold the true value

A 95 % interval that holds the true value in 80 % of test sets is worse than none. Every default interval of Chiron was
therefore simulated: test sets were drawn from populations whose true values are known, and it was counted how often the
interval held them. The rule: at least {100 * LIMIT:g} %, less three standard errors of the simulation, in every cell
inside the method's region of validity. More is allowed; from {100 * CONSERVATIVE:g} % on it is called conservative.
Shares of independent images are judged by exact enumeration instead (the last table): counts are whole, so that the
coverage of any such interval swings with the true share. Their cells below must reach {100 * LIMIT_OF_COUNTED:g} %.

- Two classes: AUROC .85 (ordinary) or .98 (near 1); scores of positives spread like those of negatives, 2.5 times as
  far (unequal), or rounded so that many are equal (tied); 50 to 2,000 images with 10, 20 or 50 % positives.
- Groups: 30 to 300 of 1 + Poisson(2) images, 30 % of them positive, correlations of .3 and .7.
- Several classes: three, and seven with HAM10000's shares.
- Calibrated: labels drawn with the model's own probabilities, for the calibration error's band (its upper limit).
- Net benefit at a threshold probability of .2. PPV and NPV at a stated prevalence rise or fall with a likelihood ratio
  and take their limits from its limits, so that they hold the true value as often.
- A rate at a fixed other rate lies outside its region where many images have the score at its threshold (tied).

No method was chosen by these sets, and every cell has its own. An earlier table, of other sets, found means over
classes of shares near 1 held in 90 to 91 % by Wilson limits of the classes; they take mid-P limits since then. 1,000
resamples a set. A cell lies inside a region when
nine of ten of its sets do. Coverages are in percent.{NOT_YET}

    python benchmarks/validity/coverage.py run RESULTS.jsonl --sets 400
    python benchmarks/validity/coverage.py run RESULTS.jsonl --sets 2000 --only-close
    python benchmarks/validity/coverage.py data RESULTS.jsonl

All cells stand in `chiron/metrics/intervals/coverage.csv`, which `chiron.metrics.intervals.coverage` reads.
"""


def page() -> str:
    """The page as Markdown."""
    default = [row for row in simulated() if row.method == "default"]
    parts = [
        INTRODUCTION,
        "## Defaults inside their regions\n",
        _summary_table([row for row in default if row.inside]),
        "`sets` is the number a cell; `null` counts sets without an interval, which the estimate's note explains.\n",
        "## Cells that miss the rule\n",
        _what_the_rule_finds([row for row in default if row.inside]),
        _missing([row for row in default if row.inside and not row.passes]),
        "## Defaults outside their regions\n",
        'Here the estimate carries "too few cases for a reliable interval".\n',
        _summary_table([row for row in default if not row.inside]),
        "## Plainer methods in the same cells\n",
        "Cells with equal spreads inside the region of the default; percentile and BCa are cluster bootstraps.\n",
        _plainer_table(),
        "## Proportions by exact enumeration\n",
        "Independent images, true shares from .001 to .999 in steps of .001.\n",
        _enumeration_table(),
    ]
    return "\n".join(parts)


def _summary_table(rows: list[Simulated]) -> str:
    lines = [
        "| metric | cells | sets | lowest (its error) | mean | conservative cells | mean width | null | lowest in |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for metric, of_metric in _by(rows, lambda row: row.metric):
        worst = min(of_metric, key=lambda row: row.coverage)
        sets = sorted({row.sets for row in of_metric})
        lines.append(
            f"| {metric} | {len(of_metric)} | {sets[0]}-{sets[-1]} | {_percent(worst)} "
            f"| {100 * np.mean([row.coverage for row in of_metric]):.1f} "
            f"| {sum(row.is_conservative for row in of_metric)} | {np.mean([row.width for row in of_metric]):.3f} "
            f"| {sum(row.null for row in of_metric)} | {_cell(worst)} |"
        )
    return "\n".join(lines) + "\n"


def _what_the_rule_finds(rows: list[Simulated]) -> str:
    """From how many sets on a miss is seen, and how many cells would be among them by chance."""
    fewest, most = min(row.sets for row in rows), max(row.sets for row in rows)
    from_on = [100 * (LIMIT - 3 * simulation_error(sets)) for sets in (fewest, most)]
    by_chance = len(rows) * special.ndtr(-3)
    return (
        f"With {fewest} sets a cell passes from {from_on[0]:.1f} on, with {most} from {from_on[1]:.1f}.\n"
        f"Of {len(rows)} cells {by_chance:.1f} would miss by chance if all intervals held the true value in "
        f"{100 * LIMIT:g} %.\n"
    )


def _missing(rows: list[Simulated]) -> str:
    if not rows:
        return "None.\n"
    lines = ["| metric | cell | sets | coverage (error) | truth above / below |", "|---|---|---|---|---|"]
    for row in rows:
        above, below = 100 * row.truth_above, 100 * (1 - row.coverage - row.truth_above)
        lines.append(f"| {row.metric} | {_cell(row)} | {row.sets} | {_percent(row)} | {above:.1f} / {below:.1f} |")
    return "\n".join(lines) + "\n"


def _plainer_table() -> str:
    inside = {(row.metric, _cell(row)): row for row in simulated() if row.method == "default" and row.inside}
    compared = [row for row in simulated() if row.method != "default" and (row.metric, _cell(row)) in inside]
    lines = [
        "| metric | method | lowest | cells that miss the rule | of | width beside the default's |",
        "|---|---|---|---|---|---|",
    ]
    for (metric, method), rows in _by(compared, lambda row: (row.metric, row.method)):
        wider = np.mean([row.width for row in rows]) / np.mean([inside[metric, _cell(row)].width for row in rows])
        missing = sum(not row.passes for row in rows)
        lowest = 100 * min(row.coverage for row in rows)
        lines.append(f"| {metric} | {method} | {lowest:.1f} | {missing} | {len(rows)} | {wider:.2f} |")
    return "\n".join(lines) + "\n"


def _enumeration_table() -> str:
    lines = ["| images | Wilson: mean | lowest | Clopper-Pearson: mean | lowest |", "|---|---|---|---|---|"]
    for total in (10, 30, 50, 100, 300):
        by_wilson = enumerated(lambda hits, total: wilson(hits, total, quantile=Z95), total)
        exact = enumerated(clopper_pearson, total)
        numbers = (by_wilson.mean(), by_wilson.min(), exact.mean(), exact.min())
        lines.append(f"| {total} | " + " | ".join(f"{100 * number:.1f}" for number in numbers) + " |")
    return "\n".join(lines) + "\n"


def enumerated(limits: Callable[[float, float], tuple[float, float]], total: int) -> np.ndarray:
    """Exact coverage of an interval of a proportion for every true share in `SHARES`."""
    hits = np.arange(total + 1)
    low, high = np.array([limits(float(count), float(total)) for count in hits]).T
    log_ways = special.gammaln(total + 1) - special.gammaln(hits + 1) - special.gammaln(total - hits + 1)
    chance = np.exp(log_ways + hits * np.log(SHARES[:, None]) + (total - hits) * np.log1p(-SHARES[:, None]))
    held = (low <= SHARES[:, None]) & (SHARES[:, None] <= high)
    return (chance * held).sum(axis=1)


def _by(rows: Iterable[Simulated], key: Callable[[Simulated], object]) -> list[tuple]:
    groups: dict = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return sorted(groups.items())


def _percent(row: Simulated) -> str:
    held = min(max(row.coverage, 0.01), 0.99)
    return f"{100 * row.coverage:.1f} ({100 * np.sqrt(held * (1 - held) / max(1, row.sets - row.null)):.1f})"


def _cell(row: Simulated) -> str:
    classes = f"{row.prevalence:g} positive" if row.classes == "two" else f"{row.classes} classes"
    alike = "" if row.correlation is None else f", correlation {row.correlation:g}"
    return f"{row.size} {row.unit}, {classes}, {row.level}, {row.shape}{alike}"
