"""Whether probabilities are right on average, too bold or too timid: calibration in the large, intercept and slope.

Each class is asked against the rest (of two classes the positive one, of several labels each on its assessed images).
With p the probability and q its log-odds:

- in the large: mean outcome minus mean p (0 is best; above 0 the model says too little);
- intercept: a in logit P(y) = a + q (0 is best);
- slope: b in logit P(y) = a + b q (1 is best; below 1 probabilities are too extreme).

Intervals are cluster-robust (sandwich with groups / (groups - 1)), with t of groups - 1.

Sources: Cox 1958, doi:10.1093/biomet/45.3-4.562; Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from chiron.core.errors import MetricError
from chiron.metrics.estimate import Estimate, Interval
from chiron.metrics.intervals.table import RULES, region_note
from chiron.metrics.means import Rows, rows_of
from chiron.metrics.metric import Family

METHOD = "cluster-robust t"
_SMALLEST = float(np.finfo(np.float64).eps)
_STEPS = 100
_STEEPEST = 1e3  # a slope beyond this is on its way to infinity
_SINGULAR = 1e14
_FLAT = 1e-9


@dataclass(frozen=True)
class CalibrationFit:
    """The three numbers of one class."""

    in_the_large: Estimate
    intercept: Estimate
    slope: Estimate


@dataclass(frozen=True)
class _Logistic:
    """A logistic regression of an outcome on a design, with an offset."""

    design: Float[np.ndarray, "n terms"]
    offset: Float[np.ndarray, "n"]
    outcome: Float[np.ndarray, "n"]

    def probabilities(self, values: Float[np.ndarray, "terms"]) -> Float[np.ndarray, "n"]:
        return special.expit(self.design @ values + self.offset)

    def information(self, prob: Float[np.ndarray, "n"]) -> Float[np.ndarray, "terms terms"]:
        return (self.design * (prob * (1 - prob))[:, np.newaxis]).T @ self.design

    def loss(self, values: Float[np.ndarray, "terms"]) -> float:
        odds = self.design @ values + self.offset
        return float((np.logaddexp(0, odds) - self.outcome * odds).sum())


def calibration_fit(
    y_true: Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"],
    y_prob: Float[np.ndarray, "n classes"],
    *,
    classes: Sequence[str],
    positive: str | None,
    groups: Sequence[Hashable] | None,
    confidence: float = 0.95,
) -> dict[str, CalibrationFit]:
    """The three numbers of each class; of two classes that exclude each other of the positive one alone.

    Args:
        y_true: class number; of several labels 1, 0 or NaN (not assessed) a class.
        y_prob: probability of every class, as it is reported.
        positive: name of the positive class of two; None for more, or for several labels.
        groups: images of a group are not independent; None says that every image is its own group.
    Raises:
        MetricError: an array or the positive class does not fit.
    """
    if y_prob.shape != (len(y_true), len(classes)) or (positive is not None and positive not in classes):
        raise MetricError(
            f"Calibration needs a probability of every class, {(len(y_true), len(classes))}, and the positive class "
            f"among them. Got {y_prob.shape} and {positive!r}. Use the label list of the bundle."
        )
    rows = rows_of(groups, len(y_true), confidence=confidence)
    fits = {}
    for k, name in enumerate(classes):
        if positive not in (None, name):
            continue
        outcome = y_true[:, k].astype(np.float64) if y_true.ndim == 2 else (y_true == k).astype(np.float64)
        known = ~np.isnan(outcome)
        fits[name] = _of_class(outcome[known], y_prob[known, k].astype(np.float64), rows.part(known), name)
    return fits


def _of_class(outcome: Float[np.ndarray, "n"], prob: Float[np.ndarray, "n"], rows: Rows, name: str) -> CalibrationFit:
    sides = [np.unique(rows.group_index[outcome == side]).size for side in (1, 0)]
    note = region_note(RULES[Family.RESAMPLED], min(sides), f"{rows.unit} with and without {name!r}")
    if reason := _undefined(outcome, rows, name):
        missing = rows.estimate(np.nan, Interval(None, None, METHOD), reason)
        return CalibrationFit(missing, missing, missing)
    odds = special.logit(np.clip(prob, _SMALLEST, 1 - _SMALLEST))
    ones, error = np.ones(len(odds)), outcome - prob
    large_variance = _spread((error - error.mean())[:, np.newaxis] / len(error), rows)[0, 0]
    flat = np.ptp(odds) <= _FLAT
    reason = "every probability is the same" if flat else "probabilities separate the cases perfectly"
    return CalibrationFit(
        in_the_large=_estimate(error.mean(), large_variance, rows, note),
        intercept=_last_coefficient(_Logistic(ones[:, np.newaxis], odds, outcome), rows, note, "the fit has no end"),
        slope=_last_coefficient(_Logistic(np.stack([ones, odds], axis=1), 0 * odds, outcome), rows, note, reason),
    )


def _undefined(outcome: np.ndarray, rows: Rows, name: str) -> str | None:
    if not len(outcome):
        return "no image was assessed for this class"
    if rows.num_groups < 2:
        return "all images come from one group"
    if outcome.min() == outcome.max():
        return f"every image here is of class {name!r}" if outcome[0] else f"class {name!r} has no image here"
    return None


def _last_coefficient(model: _Logistic, rows: Rows, note: str | None, reason: str) -> Estimate:
    """The last coefficient with its interval; null with the reason where the fit has no end."""
    values = _most_likely(model)
    if values is None:
        return rows.estimate(np.nan, Interval(None, None, METHOD), reason)
    prob = model.probabilities(values)
    bread = np.linalg.inv(model.information(prob))
    variance = bread @ _spread(model.design * (model.outcome - prob)[:, np.newaxis], rows) @ bread
    return _estimate(values[-1], variance[-1, -1], rows, note)


def _most_likely(model: _Logistic) -> Float[np.ndarray, "terms"] | None:
    """Coefficients by Newton's method with halved steps; None where they run to infinity or are not unique."""
    values = np.zeros(model.design.shape[1])
    before = model.loss(values)
    for _ in range(_STEPS):
        prob = model.probabilities(values)
        information = model.information(prob)
        if np.abs(values).max() > _STEEPEST or not np.linalg.cond(information) < _SINGULAR:
            return None
        step = np.linalg.solve(information, model.design.T @ (model.outcome - prob))
        while (after := model.loss(values + step)) > before + 1e-12 * abs(before) and np.abs(step).max() > 1e-14:
            step = step / 2
        values, before = values + step, after
        if np.abs(step).max() < 1e-10 * (1 + np.abs(values).max()):
            return values
    return None


def _spread(scores: Float[np.ndarray, "n terms"], rows: Rows) -> Float[np.ndarray, "terms terms"]:
    """Sum over groups of the squared sums of scores, which add up to zero at the fit."""
    count = rows.num_groups
    by_group = np.stack([np.bincount(rows.group_index, weights=column) for column in scores.T], axis=1)
    return by_group.T @ by_group * count / (count - 1)


def _estimate(value: float, variance: float, rows: Rows, note: str | None) -> Estimate:
    half = float(special.stdtrit(rows.num_groups - 1, (1 + rows.confidence) / 2) * np.sqrt(variance))
    if not half > 0:
        return rows.estimate(value, Interval(None, None, METHOD), "no group differs from another")
    return rows.estimate(value, Interval(float(value) - half, float(value) + half, METHOD), note)
