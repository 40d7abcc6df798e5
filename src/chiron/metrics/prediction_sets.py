"""Prediction sets as found: how many hold the reference class, how large they are, how many say nothing."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from chiron.core.errors import MetricError
from chiron.metrics.estimate import Estimate
from chiron.metrics.means import Rows, mean_estimate, rows_of, share_estimate


@dataclass(frozen=True)
class SetNumbers:
    """Numbers of the sets of some units; an empty set and one of all classes are told apart from useful ones."""

    coverage: Estimate
    mean_size: Estimate
    empty: Estimate
    single: Estimate
    full: Estimate


@dataclass(frozen=True)
class SetEvaluation:
    """All sets, those of each reference class, and those of each value of a column; the fields are keys in JSON."""

    overall: SetNumbers
    per_class: dict[str, SetNumbers]
    per_value: dict[str, SetNumbers]


def evaluate_prediction_sets(
    sets: Bool[np.ndarray, "n classes"],
    y_true: Int[np.ndarray, "n"],
    groups: Sequence[Hashable] | None,
    *,
    classes: Sequence[str],
    by_values: Sequence[str] | None = None,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> SetEvaluation:
    """Coverage and sizes of prediction sets with intervals that account for groups.

    Coverage has the interval of a proportion over test cases; the promise itself is an average over calibration sets.

    Args:
        sets: whether each class stands in the set of each unit.
        y_true: class number of the reference standard.
        groups: units of a group are not independent; None says that every unit is its own group.
        by_values: a column whose values are told one by one.
    Raises:
        MetricError: there is no unit, or an array does not fit.
    """
    if not len(y_true) or sets.shape != (len(y_true), len(classes)):
        raise MetricError(
            f"Sets must have one row a unit and one column a class, {(len(y_true), len(classes))}, and a unit. "
            f"Got {sets.shape}. Use the label list of the bundle."
        )
    rows = rows_of(groups, len(y_true), num_resamples=num_resamples, confidence=confidence, seed=seed)
    values = np.array([str(value) for value in by_values]) if by_values is not None else np.array([])
    return SetEvaluation(
        overall=_numbers(sets, y_true, np.ones(len(y_true), dtype=bool), rows),
        per_class={name: _numbers(sets, y_true, y_true == k, rows) for k, name in enumerate(classes)},
        per_value={str(name): _numbers(sets, y_true, values == name, rows) for name in np.unique(values)},
    )


def _numbers(
    sets: Bool[np.ndarray, "n classes"], y_true: Int[np.ndarray, "n"], kept: Bool[np.ndarray, "n"], rows: Rows
) -> SetNumbers:
    part, sets, y_true = rows.part(kept), sets[kept], y_true[kept]
    size = sets.sum(axis=1)
    return SetNumbers(
        coverage=share_estimate(sets[np.arange(len(y_true)), y_true], part),
        mean_size=mean_estimate(size.astype(np.float64), part),
        empty=share_estimate(size == 0, part),
        single=share_estimate(size == 1, part),
        full=share_estimate(size == sets.shape[1], part),
    )
