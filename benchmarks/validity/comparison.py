"""How often the tests of `chiron compare` find a difference where there is none, and how often one that there is.

    python benchmarks/validity/comparison.py FOLDER --what null --sets 1000
    python benchmarks/validity/comparison.py FOLDER --what resampled --sets 500
    python benchmarks/validity/comparison.py FOLDER --what seeds --sets 2000
    python benchmarks/validity/comparison.py FOLDER --what power --sets 2000
    python benchmarks/validity/comparison.py FOLDER --what table

Two models have the same true performance and different, correlated outputs, in three ways: `exchanged`, a better and a
worse model whose outputs are swapped at random in each group; `parametric`, latent normal scores of equal distribution;
`shapes`, equal AUROC from unequal score distributions. A line of FOLDER/comparison.jsonl is a block of sets of one
cell. Blocks that stand there are not drawn again, so a run can be stopped, and a larger --sets adds to it.
"""

import argparse
import functools
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from chiron.metrics.comparison.compared_number import find_number
from chiron.metrics.comparison.contrast import ROUNDING, contrast
from chiron.metrics.comparison.mcnemar import mcnemar_p, paired_shares, share_variance
from chiron.metrics.comparison.methods import seeds_and_cases, t_p_value
from chiron.metrics.comparison.paired import pair_cases
from chiron.metrics.comparison.paired_auroc import auroc_contrast
from chiron.metrics.comparison.resamples import PairedResamples
from chiron.metrics.intervals.auroc import placements
from chiron.metrics.metric import registered_metrics

ALPHA = 0.05
BLOCK = 100
SIZES, PREVALENCES, NULLS = (50, 150, 600), (0.1, 0.2, 0.5), ("exchanged", "parametric", "shapes")
RESAMPLED = (
    *("brier", "log_loss", "average_precision", "f1", "balanced_accuracy", "precision"),
    *("positive_likelihood_ratio", "negative_likelihood_ratio"),
)
SEED_SDS, SEED_COUNTS, SEED_LIMITS = (0.5, 1.0, 2.0), (3, 5), {3: 0.075, 5: 0.065}
POWERS = (0.3, 0.6, 0.9)
NUM_RESAMPLES = 400  # enough for a standard error
SHIFT, SHARED = 2.0, 0.5  # distance of the classes; share of the scores' variance that both models have
ACCURACY = 0.85  # of every method where seeds are compared
WIDE = 2.0  # SD of the positives of the second model where shapes differ

METRICS = registered_metrics()

Cell = dict[str, Any]
Set = tuple[np.ndarray, list[np.ndarray], np.ndarray]  # labels, latent scores of both models, groups


def draw_groups(rng: np.random.Generator, n: int, clustered: bool) -> np.ndarray:
    """Group of each case: its own, or groups of 1 + Poisson(2) cases."""
    if not clustered:
        return np.arange(n)
    return np.repeat(np.arange(n), 1 + rng.poisson(2, n))[:n]


def draw_set(rng: np.random.Generator, cell: Cell) -> Set:
    """One set of cases with two models of equal true performance."""
    n, groups = cell["n"], draw_groups(rng, cell["n"], cell["clustered"])
    positive = rng.random(n) < cell["prevalence"]
    if cell["clustered"]:  # two of three groups are of one class
        of_group = rng.random(n) < cell["prevalence"]
        positive = np.where((rng.random(n) < 2 / 3)[groups], of_group[groups], positive)
    noise = _noise(rng, groups, cell["clustered"])
    if cell["null"] == "shapes":
        shift = SHIFT * np.sqrt((1 + WIDE**2) / 2)  # equal AUROC
        spread = np.where(positive, WIDE, 1.0)
        return positive, [SHIFT * positive + noise[0], shift * positive + spread * noise[1]], groups
    scores = [SHIFT * positive + one for one in noise]
    if cell["null"] == "exchanged":
        scores[1] = 1.3 * SHIFT * positive + noise[1]
        swapped = (rng.random(n) < 0.5)[groups]
        scores = [np.where(swapped, scores[1], scores[0]), np.where(swapped, scores[0], scores[1])]
    return positive, scores, groups


def _noise(rng: np.random.Generator, groups: np.ndarray, clustered: bool) -> list[np.ndarray]:
    """Standard normal noise of both models: shared and own parts, with clusters half of each alike in a group."""

    def part() -> np.ndarray:
        own = rng.standard_normal(len(groups))
        return np.sqrt(0.5) * own + np.sqrt(0.5) * rng.standard_normal(len(groups))[groups] if clustered else own

    shared = part()
    return [np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * part() for _ in range(2)]


def probability(score: np.ndarray, prevalence: float) -> np.ndarray:
    """The chance of a positive case that a model with this score would state."""
    return special.expit(SHIFT * score - SHIFT**2 / 2 + special.logit(prevalence))


def null_p_values(rng: np.random.Generator, cell: Cell) -> dict[str, float]:
    """p-values of shares and AUROC of one set."""
    positive, scores, groups = draw_set(rng, cell)
    found = {"auroc": auroc_p_value(positive, scores, groups)}
    if cell["null"] == "shapes":  # equal AUROC says nothing of shares
        return found
    called = [probability(score, cell["prevalence"]) >= 0.5 for score in scores]
    right = [(one == positive).astype(float) for one in called]
    for name, rows in (("accuracy", np.ones_like(positive)), ("sensitivity", positive), ("specificity", ~positive)):
        if rows.any():
            found[name] = mcnemar_p(paired_shares(right[0][rows], right[1][rows], groups[rows]))
    return found


def auroc_p_value(positive: np.ndarray, scores: list[np.ndarray], groups: np.ndarray) -> float:
    """DeLong's test as `contrast` makes it; NaN with fewer than two groups on a side."""
    fewest = min(len(np.unique(groups[positive])), len(np.unique(groups[~positive])))
    if fewest < 2:
        return float("nan")
    found = auroc_contrast(positive, scores, [-1, 1], groups)
    if found.variance <= ROUNDING**2:
        return 1.0 if abs(found.value) <= ROUNDING else float("nan")
    return float(2 * special.stdtr(fewest - 1, -abs(found.value) / np.sqrt(found.variance)))


def resampled_p_values(rng: np.random.Generator, cell: Cell) -> dict[str, float]:
    """p-values of the numbers that are resampled, by the default road from cases to p."""
    positive, scores, groups = draw_set(rng, cell)
    if not 0 < positive.sum() < len(positive):
        return {}
    prob = [probability(score, cell["prevalence"]) for score in scores]
    both = {name: np.stack([1 - one, one], axis=1) for name, one in zip("ab", prob, strict=True)}
    paired = pair_cases(positive.astype(int), both, classes=("n", "p"), positive="p", groups=groups.tolist())
    compared = [find_number(name, paired.shared, METRICS) for name in RESAMPLED]
    seed = int(rng.integers(2**31))
    resamples = PairedResamples(paired, [it.metric for it in compared], num_resamples=NUM_RESAMPLES, seed=seed)
    return {it.name: contrast(it, resamples, {"a": -1.0, "b": 1.0}).p_value for it in compared}


def seeds_p_values(rng: np.random.Generator, cell: Cell) -> dict[str, float]:
    """p-values for two methods of equal mean accuracy whose seeds differ, and for one seed of each."""
    n, count, clustered = cell["n"], cell["seeds"], cell["clustered"]
    groups = draw_groups(rng, n, clustered)
    seed_sd = cell["seed_sd"] * case_error(n, count, clustered)
    right = [_right(rng, groups, clustered, ACCURACY + seed_sd * rng.standard_normal(count)) for _ in range(2)]
    change = right[1].mean(axis=0) - right[0].mean(axis=0)
    spread = seeds_and_cases(
        share_variance(change, groups), len(np.unique(groups)) - 1, *(of_one.mean(axis=1).tolist() for of_one in right)
    )
    single = mcnemar_p(paired_shares(right[0][0], right[1][0], groups))
    return {f"{count} seeds": t_p_value(float(change.mean()), spread), "one seed": single}


def _right(rng: np.random.Generator, groups: np.ndarray, clustered: bool, accuracies: np.ndarray) -> np.ndarray:
    """Whether each run is right for each case; cases that are hard for one run are hard for all."""

    def part(rows: int) -> np.ndarray:
        own = rng.standard_normal((rows, len(groups)))
        if not clustered:
            return own
        return np.sqrt(0.5) * own + np.sqrt(0.5) * rng.standard_normal((rows, len(groups)))[:, groups]

    latent = np.sqrt(SHARED) * part(1) + np.sqrt(1 - SHARED) * part(len(accuracies))
    return (latent < special.ndtri(np.clip(accuracies, 0.01, 0.99))[:, np.newaxis]).astype(float)


@functools.cache
def case_error(n: int, count: int, clustered: bool) -> float:
    """Standard error that the cases alone give the difference of two means over seeds."""
    rng, variances = np.random.default_rng(5), []
    for _ in range(200):
        groups = draw_groups(rng, n, clustered)
        right = [_right(rng, groups, clustered, np.full(count, ACCURACY)).mean(axis=0) for _ in range(2)]
        variances.append(share_variance(right[1] - right[0], groups))
    return float(np.sqrt(np.mean(variances)))


def power_p_values(rng: np.random.Generator, cell: Cell) -> dict[str, float]:
    """The p-value of two models whose true difference the formula gives the cell's power."""
    n, of, shift = cell["n"], cell["of"], shift_of(cell["n"], cell["prevalence"], cell["of"], cell["power"])
    positive = rng.random(n) < cell["prevalence"]
    noise, groups = _noise(rng, np.arange(n), clustered=False), np.arange(n)
    scores = [SHIFT * positive + noise[0], shift * positive + noise[1]]
    if of == "auroc":
        return {of: auroc_p_value(positive, scores, groups)}
    right = [(one > at / 2) == positive for one, at in zip(scores, (SHIFT, shift), strict=True)]
    return {of: mcnemar_p(paired_shares(right[0].astype(float), right[1].astype(float), groups))}


@functools.cache
def shift_of(n: int, prevalence: float, of: str, power: float) -> float:
    """The distance of the classes for the second model at which the formula promises this power."""
    formula = _auroc_power if of == "auroc" else _share_power
    return float(optimize.brentq(lambda shift: formula(n, prevalence, shift) - power, SHIFT + 1e-3, SHIFT + 3))


def _auroc_power(n: int, prevalence: float, shift: float) -> float:
    """Normal power of DeLong's test, with the variance of placements from 20,000 cases."""
    positive = np.arange(20_000) < 10_000
    noise = _noise(np.random.default_rng(6), np.arange(20_000), clustered=False)
    first, second = (
        placements(positive, at * positive + one, np.arange(20_000))
        for at, one in zip((SHIFT, shift), noise, strict=True)
    )
    variance = (second.of_positives - first.of_positives).var() / (n * prevalence)
    variance += (second.of_negatives - first.of_negatives).var() / (n * (1 - prevalence))
    difference = special.ndtr(shift / np.sqrt(2)) - special.ndtr(SHIFT / np.sqrt(2))
    return float(special.ndtr(difference / np.sqrt(variance) - special.ndtri(1 - ALPHA / 2)))


def _share_power(n: int, prevalence: float, shift: float) -> float:
    """Power of McNemar's test at prevalence 0.5: Connor 1987, doi:10.2307/2531961."""
    del prevalence
    accuracies = special.ndtr([SHIFT / 2, shift / 2])
    both = stats.multivariate_normal(cov=[[1, SHARED], [SHARED, 1]]).cdf([SHIFT / 2, shift / 2])
    discordant, difference = accuracies.sum() - 2 * both, accuracies[1] - accuracies[0]
    reach = difference * np.sqrt(n) - special.ndtri(1 - ALPHA / 2) * np.sqrt(discordant)
    return float(special.ndtr(reach / np.sqrt(discordant - difference**2)))


def cells(what: str) -> Iterator[Cell]:
    """All cells of one part, the same order each time."""
    grid = itertools.product((False, True), SIZES, PREVALENCES)
    if what == "null":
        for (clustered, n, prevalence), null in itertools.product(grid, NULLS):
            yield {"clustered": clustered, "n": n, "prevalence": prevalence, "null": null}
    elif what == "resampled":
        for clustered, n, prevalence in grid:
            yield {"clustered": clustered, "n": n, "prevalence": prevalence, "null": "parametric"}
    elif what == "seeds":
        for clustered, n, count, sd in itertools.product((False, True), (600, 2000), SEED_COUNTS, SEED_SDS):
            yield {"clustered": clustered, "n": n, "seeds": count, "seed_sd": sd}
    else:
        for (of, prevalence), power in itertools.product((("auroc", 0.5), ("auroc", 0.2), ("accuracy", 0.5)), POWERS):
            yield {"n": 600, "prevalence": prevalence, "of": of, "power": power}


DRAWS: dict[str, Callable[[np.random.Generator, Cell], dict[str, float]]] = {
    "null": null_p_values,
    "resampled": resampled_p_values,
    "seeds": seeds_p_values,
    "power": power_p_values,
}


def run(folder: Path, what: str, num_sets: int) -> None:
    """Draws the blocks that the results do not hold yet, the first block of every cell first."""
    out = folder / "comparison.jsonl"
    done = {(line["what"], json.dumps(line["cell"]), line["block"]) for line in lines_of(out)}
    for block, cell in itertools.product(range(-(-num_sets // BLOCK)), cells(what)):
        if (what, json.dumps(cell), block) in done:
            continue
        name = f"{what} {json.dumps(cell)} {block}"
        rng = np.random.default_rng(list(name.encode()))
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for _ in range(BLOCK):
            for test, p_value in DRAWS[what](rng, cell).items():
                if not np.isnan(p_value):
                    counts[test][0] += p_value < ALPHA
                    counts[test][1] += 1
        line = {
            "what": what,
            "cell": cell,
            "block": block,
            "counts": {test: list(map(int, n)) for test, n in counts.items()},
        }
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The blocks that stand in the results."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def totals(lines: list[dict[str, Any]], what: str) -> dict[str, dict[str, tuple[int, int]]]:
    """Rejections and sets by cell and test."""
    found: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for line in lines:
        if line["what"] == what:
            cell = json.dumps(line["cell"])
            for test, (rejected, sets) in line["counts"].items():
                before = found[cell].get(test, (0, 0))
                found[cell][test] = (before[0] + rejected, before[1] + sets)
    return found


def shown(rejected: int, sets: int, limit: float) -> str:
    """`4.8`, marked where it lies above the limit and three standard errors, or is conservative."""
    share, error = rejected / sets, np.sqrt(limit * (1 - limit) / sets)
    mark = " **fails**" if share > limit + 3 * error else " c" if share < limit - 3 * error else ""
    return f"{100 * share:.1f}{mark}"


def print_table(folder: Path) -> None:
    """All parts as Markdown."""
    lines = lines_of(folder / "comparison.jsonl")
    for what in ("null", "resampled", "seeds", "power"):
        found = totals(lines, what)
        if not found:
            continue
        tests = list(dict.fromkeys(test for of_cell in found.values() for test in of_cell))
        names = list(dict.fromkeys(key for cell in found for key in json.loads(cell)))
        print("\n| " + " | ".join([*names, "sets", *tests]) + " |")
        print("|" + "---|" * (len(names) + 1 + len(tests)))
        for cell, of_cell in found.items():
            known = json.loads(cell)
            limit = SEED_LIMITS.get(known.get("seeds"), ALPHA)
            sets = max(n for _, n in of_cell.values())
            shares = []
            for test in tests:
                if test not in of_cell:
                    shares.append("")
                elif of_cell[test][1] < sets / 2:
                    shares.append("-")  # mostly no answer: too few cases, or a ratio by 0
                elif what == "power" or test == "one seed":
                    shares.append(f"{100 * of_cell[test][0] / of_cell[test][1]:.1f}")
                else:
                    shares.append(shown(*of_cell[test], limit))
            print("| " + " | ".join(map(str, [*known.values(), sets, *shares])) + " |")


def main() -> None:
    """Draws or prints, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--what", choices=[*DRAWS, "table"], required=True)
    parser.add_argument("--sets", type=int, default=1000)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.what == "table":
        print_table(arguments.folder)
    else:
        run(arguments.folder, arguments.what, arguments.sets)


if __name__ == "__main__":
    main()
