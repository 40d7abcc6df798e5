"""Gates of calibration: temperature against its information bound, the ECE band, class weights, intercept and slope.

    python benchmarks/validity/calibration.py OUT.jsonl --sets 200

Temperature fits: `--sets` a cell. The other cells take ten times as many.
"""

import numpy as np
from cells import Cell, Numbers, arguments, run_cells, table
from scipy import special

from chiron.decide.calibrate import calibrated, fit_calibration
from chiron.decide.probabilities import softmax
from chiron.metrics.calibration import (
    calibration_bins,
    consistency_band,
    expected_calibration_error,
)
from chiron.metrics.calibration_fit import calibration_fit
from chiron.metrics.intervals.proportion import wilson

TEMPERATURE = 1.7
HOW = {"needs_intercept": False, "fitted_on": "cal", "several": False}


def drawn_labels(random: np.random.Generator, probs: np.ndarray) -> np.ndarray:
    """A class for each row, with the row's probabilities."""
    return (probs.cumsum(axis=1) < random.random((len(probs), 1))).sum(axis=1)


def temperature(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """Fits against the truth, in units of the bound that the information of each set gives."""
    fits, errors = [], []
    for _ in range(sets):
        logits = random.normal(size=(cell["n"], cell["classes"])) * 2 * TEMPERATURE
        probs = softmax(logits / TEMPERATURE)
        y_true = drawn_labels(random, probs)
        fit = fit_calibration(logits, y_true, None, method="temperature", **HOW).parameters[0]["temperature"][0]
        variance = ((probs * logits**2).sum(axis=1) - (probs * logits).sum(axis=1) ** 2).sum()
        fits.append(fit / TEMPERATURE)
        errors.append((1 / fit - 1 / TEMPERATURE) * np.sqrt(variance))  # of the slope, on whose scale it is normal
    return {
        "mean of fits / truth": float(np.mean(fits)),
        "its SE": float(np.std(fits) / np.sqrt(sets)),
        "SD of fits %": 100 * float(np.std(fits)),
        "SD / bound": float(np.std(errors)),
        "within 3 SE %": 100 * float(np.mean(np.abs(errors) <= 3)),
    }


def ece_null(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """How often the ECE of a calibrated model lies above the band's upper end, which is a test at 5 %."""
    alarms = 0
    for seed in range(sets * 10):
        probs = softmax(random.normal(size=(cell["n"], cell["classes"])) * 1.5)
        right = drawn_labels(random, probs) == probs.argmax(axis=1)
        confidence = probs.max(axis=1)
        band = consistency_band(confidence, num_simulations=400, seed=seed)
        alarms += expected_calibration_error(calibration_bins(confidence, right)) > band.ece_high
    low, high = wilson(alarms, sets * 10, quantile=1.96)
    return {"alarms %": alarms / sets * 10, "95 % from": 100 * low, "to": 100 * high}


def class_weights(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """A12: outputs as after balanced class weights, prevalence 10.6 %; fitted on n, judged on 20,000 others."""
    gaps, errors = [], []
    for _ in range(sets):
        odds = random.normal(size=cell["n"] + 20_000) * 1.5 - 2.9
        y_true = (random.random(len(odds)) < special.expit(odds)).astype(np.int64)
        logits = np.stack([np.zeros(len(odds)), odds + np.log(0.894 / 0.106)], axis=1)
        cal, test = slice(None, cell["n"]), slice(cell["n"], None)
        found = fit_calibration(logits[cal], y_true[cal], None, method=cell["method"], **HOW)
        probs = calibrated(logits[test], found, several=False)
        gaps.append((probs[:, 1].mean(), y_true[test].mean()))
        bins = calibration_bins(probs.max(axis=1), probs.argmax(axis=1) == y_true[test])
        errors.append(expected_calibration_error(bins))
    given, there = np.mean(gaps, axis=0)
    return {"mean probability": float(given), "prevalence": float(there), "ECE": float(np.mean(errors))}


def coverage_of_fit(cell: Cell, sets: int, random: np.random.Generator) -> Numbers:
    """How often the intervals of a calibrated model hold 0, 0 and 1; groups of 1 to 5 alike cases."""
    truth = {"in_the_large": 0.0, "intercept": 0.0, "slope": 1.0}
    covered, defined = dict.fromkeys(truth, 0), 0
    for _ in range(sets * 10):
        groups = np.repeat(np.arange(cell["groups"]), random.integers(1, 6, cell["groups"]))
        odds = random.normal(size=cell["groups"])[groups] * 1.2 + random.normal(size=len(groups)) * 0.6 + cell["odds"]
        y_true = (random.random(len(groups)) < special.expit(odds)).astype(np.int64)
        prob = special.expit(odds)
        fit = calibration_fit(
            y_true, np.stack([1 - prob, prob], axis=1), classes=("a", "b"), positive="b", groups=groups.tolist()
        )["b"]
        inside = fit.slope.value is not None and fit.slope.note is None
        defined += inside
        for name, value in truth.items() if inside else ():
            covered[name] += getattr(fit, name).low <= value <= getattr(fit, name).high
    shares = {f"{name} %".replace("_", " "): 100 * covered[name] / max(1, defined) for name in truth}
    return {"sets in the region": defined, **shares, "SE": 100 * float(np.sqrt(0.05 * 0.95 / max(1, defined)))}


PARTS = {
    "temperature": (temperature, [{"classes": k, "n": n} for k in (2, 7) for n in (200, 1000, 5000)]),
    "ECE null test": (ece_null, [{"classes": k, "n": n} for k in (2, 7) for n in (150, 600, 2000)]),
    "class weights": (class_weights, [{"method": m, "n": 2000} for m in ("none", "temperature", "platt", "isotonic")]),
    "coverage of intercept and slope": (
        coverage_of_fit,
        [{"groups": groups, "odds": odds} for groups in (50, 100, 300) for odds in (0.0, -2.0)],
    ),
}

if __name__ == "__main__":
    given = arguments(__doc__ or "", 200)
    for title, (measure, cells) in PARTS.items():
        rows = run_cells([{"part": title, **cell} for cell in cells], measure, given)
        print(f"\n### {title}\n\n{table([{k: v for k, v in row.items() if k != 'part'} for row in rows])}", flush=True)
