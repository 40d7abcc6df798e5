"""Gate of prediction sets: mean coverage over redraws of calibration and test, its spread, classes, groups and CV+.

python benchmarks/validity/conformal.py OUT.jsonl --sets 1000
"""

import numpy as np
from cells import Cell, Numbers, arguments, run_cells, table
from scipy import stats

from chiron.decide.conformal import cross_prediction_sets, fit_conformal, fit_cross_conformal, prediction_sets
from chiron.decide.probabilities import softmax

CLASSES = ("a", "b", "c", "d", "e")
OFFSETS = np.array([1.5, 0.5, 0.0, 0.0, -1.0])
ALPHA, NUM_TEST = 0.1, 1000
HOW = {"classes": CLASSES, "alpha": ALPHA, "fitted_on": "cal"}


def drawn(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities that are too bold by half, reference classes and randomizers."""
    logits = random.normal(size=(count, len(CLASSES))) * 1.5 + OFFSETS
    right = softmax(logits)
    return softmax(1.5 * logits), (right.cumsum(axis=1) < random.random((count, 1))).sum(axis=1), random.random(count)


def one_redraw(cell: Cell, random: np.random.Generator) -> tuple[float, float, np.ndarray]:
    """Coverage and mean size on test, and the coverage of each class."""
    num_cal = cell["n"]
    probs, y_true, numbers = drawn(random, num_cal + NUM_TEST)
    numbers = numbers if cell["randomized"] else None
    cal, test = slice(None, num_cal), slice(num_cal, None)
    conformal = fit_conformal(
        probs[cal],
        y_true[cal],
        None,
        score=cell["score"],
        by=cell["by"],
        randomizer=None if numbers is None else numbers[cal],
        **HOW,
    )
    sets = prediction_sets(
        probs[test], conformal, classes=CLASSES, randomizer=None if numbers is None else numbers[test]
    )
    hit = sets[np.arange(NUM_TEST), y_true[test]]
    of_class = [hit[y_true[test] == k].mean() if (y_true[test] == k).any() else np.nan for k in range(len(CLASSES))]
    return float(hit.mean()), float(sets.sum(axis=1).mean()), np.array(of_class)


def split(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """Mean and spread of coverage beside the exact ones."""
    shares, sizes, of_class = zip(*(one_redraw(cell, random) for _ in range(sets)), strict=True)
    rank = int(np.ceil((cell["n"] + 1) * (1 - ALPHA) - 1e-9))
    exact = stats.betabinom(NUM_TEST, rank, cell["n"] + 1 - rank)
    error = float(np.std(shares) / np.sqrt(sets))
    upper = 1 - ALPHA + 1 / (cell["n"] + 1) + 3 * error
    inside = exact.ppf([0.025, 0.975]) / NUM_TEST
    exact_spread = cell["by"] == "all" and (cell["randomized"] or cell["score"] == "lac")
    return {
        "mean coverage": float(np.mean(shares)),
        "SE": error,
        "within bounds": "yes"
        if np.mean(shares) >= 1 - ALPHA - 3 * error and (not exact_spread or np.mean(shares) <= upper)
        else "NO",
        "SD": float(np.std(shares)),
        "exact SD": float(exact.std() / NUM_TEST) if exact_spread else "-",
        "in exact 95 % range %": 100 * float(np.mean((shares >= inside[0]) & (shares <= inside[1])))
        if exact_spread
        else "-",
        "least class %": 100 * float(np.nanmean(of_class, axis=0).min()),
        "mean size": float(np.mean(sizes)),
    }


def in_groups(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """Units of one group right or wrong together; counted by group, or as if each were alone."""
    shares = []
    for _ in range(sets):
        num_groups = cell["groups"] + 300
        index = np.repeat(np.arange(num_groups), random.choice([1, 1, 2, 8], num_groups))
        probs, y_true, _ = drawn(random, num_groups)
        cal = index < cell["groups"]
        conformal = fit_conformal(
            probs[index][cal],
            y_true[index][cal],
            index[cal].tolist() if cell["counted"] == "by group" else None,
            score="lac",
            by="all",
            **HOW,
        )
        hit = prediction_sets(probs[index][~cal], conformal, classes=CLASSES)
        shares.append(hit[np.arange(int((~cal).sum())), y_true[index][~cal]].mean())
    return {"mean coverage": float(np.mean(shares)), "SE": float(np.std(shares) / np.sqrt(sets))}


def cv_plus(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """Networks stood for by nearest class means in 10 dimensions, each fitted without its fold."""
    shares, sizes = [], []
    centers = np.random.default_rng(1).normal(size=(len(CLASSES), 10)) * 0.8
    for _ in range(sets):
        y_true = random.integers(0, len(CLASSES), cell["n"] + NUM_TEST)
        x = centers[y_true] + random.normal(size=(len(y_true), 10))
        fold = np.arange(cell["n"]) % 5
        own, new = [], []
        for k in range(5):
            kept = np.flatnonzero(fold != k)
            means = [x[kept][y_true[kept] == c].mean(axis=0) for c in range(len(CLASSES))]
            probs = softmax(-((x[:, np.newaxis] - np.array(means)) ** 2).sum(axis=2) / 2)
            own.append(probs[: cell["n"]][fold == k])
            new.append(probs[cell["n"] :])
        labels = [y_true[: cell["n"]][fold == k] for k in range(5)]
        conformal = fit_cross_conformal(own, labels, None, score="lac", alpha=ALPHA)
        found = cross_prediction_sets(new, conformal)
        shares.append(found[np.arange(NUM_TEST), y_true[cell["n"] :]].mean())
        sizes.append(found.sum(axis=1).mean())
    mean, error = float(np.mean(shares)), float(np.std(shares) / np.sqrt(sets))
    return {"mean coverage": mean, "SE": error, "lowest": float(np.min(shares)), "mean size": float(np.mean(sizes))}


PARTS = {
    "split": (
        split,
        [
            {"score": score, "by": by, "randomized": drawn_, "n": n}
            for n in (49, 100, 500)
            for score, drawn_ in (("lac", False), ("aps", True), ("aps", False), ("raps", True))
            for by in ("all", "class")
        ]
        + [{"score": "raps", "by": by, "randomized": False, "n": n} for n in (49, 100, 500) for by in ("all", "class")],
    ),
    "groups": (in_groups, [{"groups": n, "counted": how} for n in (40, 100) for how in ("by group", "as if single")]),
    "CV+": (cv_plus, [{"n": n} for n in (60, 200)]),
}

if __name__ == "__main__":
    given = arguments(__doc__ or "", 1000)
    for title, (measure, cells) in PARTS.items():
        rows = run_cells([{"part": title, **cell} for cell in cells], measure, given)
        print(f"\n### {title}\n\n{table([{k: v for k, v in row.items() if k != 'part'} for row in rows])}", flush=True)
