"""Gate of thresholds: the sensitivity that each rule reaches, with single positives and with positives in groups.

    python benchmarks/validity/thresholds.py OUT.jsonl --sets 2000

The scores of positives are uniform (a rule sees ranks alone), so that the true sensitivity of a threshold is exact.
Groups have 1 to 9 positives with a correlation of 0.9 on the normal scale; `larger groups lower` shifts the scores of
larger groups down, so that groups and cases do not have the same sensitivity.
"""

import numpy as np
from cells import Cell, Numbers, arguments, run_cells, table
from scipy import stats

from chiron.core.errors import DecisionError
from chiron.decide.thresholds import fit_threshold

SENSITIVITY = 0.95
SIZES = np.array([1, 1, 2, 3, 9])


def grouped(random: np.random.Generator, num_groups: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores and groups of positives."""
    sizes = random.choice(SIZES, num_groups)
    groups = np.repeat(np.arange(num_groups), sizes)
    tied = np.sqrt(0.9) * random.normal(size=num_groups)[groups] + np.sqrt(0.1) * random.normal(size=len(groups))
    return tied - shift * (sizes[groups] == SIZES.max()), groups


def measure(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """True sensitivities of the thresholds of many sets, of cases and (where they differ) not of groups."""
    shift = 0.7 if cell["positives"] == "larger groups lower" else 0.0
    population = np.sort(grouped(random, 300_000, shift)[0])
    found, aimed, refused = [], [], 0
    for _ in range(sets):
        if cell["positives"] == "single":
            scores, groups = random.normal(size=cell["groups"]), None
            population_below = stats.norm.cdf
        else:
            scores, index = grouped(random, cell["groups"], shift)
            groups = None if cell["counted"] == "as if single" else index.tolist()
            population_below = lambda value: np.searchsorted(population, value) / len(population)  # noqa: E731
        try:
            fit = fit_threshold(
                scores,
                np.ones(len(scores), dtype=bool),
                groups,
                question="any",
                classes=["a"],
                rule=cell["rule"],
                sensitivity=SENSITIVITY,
                fitted_on="cal",
            )
        except DecisionError:
            refused += 1
            continue
        found.append(1 - population_below(fit.value))
        aim = (len(scores) - fit.num_found + 1) / (len(scores) + 1)
        low = population_below(fit.low) if fit.low is not None else 0.0
        aimed.append(low <= aim <= (population_below(fit.high) if fit.high is not None else 1.0))
    reached = np.array(found)
    return {
        "refused %": 100 * refused / sets,
        "mean sensitivity": float(reached.mean()),
        "SE": float(reached.std() / np.sqrt(len(reached))),
        "below .95 %": 100 * float((reached < SENSITIVITY).mean()),
        "below .90 %": 100 * float((reached < 0.90).mean()),
        "interval covers %": 100 * float(np.mean(aimed)),
    }


CELLS = [
    {"positives": "single", "counted": "as they are", "rule": rule, "groups": groups}
    for rule, sizes in (("point", (20, 40, 100)), ("expected", (19, 40, 100, 300)), ("guaranteed", (59, 100, 300)))
    for groups in sizes
] + [
    {"positives": positives, "counted": counted, "rule": rule, "groups": groups}
    for positives in ("in groups", "larger groups lower")
    for rule, sizes in (("expected", (60, 150)), ("guaranteed", (60, 150)))
    for groups in sizes
    for counted in ("by group", "as if single")
]

if __name__ == "__main__":
    print(table(run_cells(CELLS, measure, arguments(__doc__ or "", 2000))))
