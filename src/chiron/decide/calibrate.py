"""Logits to probabilities by what was fitted: `calibrated`, `fit_calibration`, and how a method is chosen.

Of several labels each class is a question of its own, fitted on the images that were assessed for it: two classes,
absent with the logit 0 and present with the network's. Its parameters carry `_<class number>` in their name.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from chiron.core.errors import DecisionError
from chiron.core.registry import load_leaf
from chiron.decide.groups import group_numbers, group_sizes
from chiron.decide.probabilities import sigmoid, softmax
from chiron.spec.decision import Calibration, CalibrationMethod, FittedOn

CALIBRATORS_PACKAGE = "chiron.decide.calibrators"
FOLDS = 5
METHODS: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)[1:]  # simplest first

Parameters = dict[str, tuple[float, ...]]
Labels = Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"]


def calibrated(
    logits: Float[np.ndarray, "n classes"], calibration: Calibration, *, several: bool, member: int = 0
) -> Float[np.ndarray, "n classes"]:
    """Probabilities, in float64: the network's own where the calibration is `none`.

    Args:
        several: each class on its own (sigmoid) and not one of all (softmax).
        member: which network of a cross-fitted bundle the logits are from.
    Raises:
        DecisionError: this network has no calibration.
    """
    logits = logits.astype(np.float64)
    if calibration.method == "none":
        return sigmoid(logits) if several else softmax(logits)
    if member >= len(calibration.parameters):
        raise DecisionError(
            f"Every network must have its calibration. Got {len(calibration.parameters)} for network number {member}. "
            "Fit the decision again."
        )
    return _applied(_leaf(calibration.method), logits, calibration.parameters[member], several)


def fit_calibration(
    logits: Float[np.ndarray, "n classes"],
    y_true: Labels,
    groups: Sequence[Hashable] | None,
    *,
    method: CalibrationMethod | Literal["auto"],
    needs_intercept: bool,
    fitted_on: FittedOn,
    several: bool,
    seed: int = 0,
) -> Calibration:
    """The calibration of one network, fitted on cases that neither training nor selection has seen.

    Args:
        y_true: class number; of several labels 1, 0 or NaN (not assessed) a class.
        groups: cases of a group stay together in cross-validation; None says that every case is its own.
        method: a name, or `auto`: the least log loss in grouped cross-validation among those that suit.
        needs_intercept: whether training weighted classes, which only an intercept a class repairs.
    Raises:
        DecisionError: no method suits, or the one asked for does not; the message says why.
    """
    if method == "none":
        return Calibration()
    given = logits, y_true, groups
    logits, y_true, index = _in_order(*given)
    if method == "auto":
        names = _suiting(logits, y_true, needs_intercept, several)
        if len(names) > 1:
            losses = calibration_losses(*given, methods=names, several=several, seed=seed)
            names = [min(names, key=lambda name: losses[name])]  # the simpler of equal ones
        method = names[0]
    elif reason := _unsuited(method, logits, y_true, needs_intercept, several):
        raise DecisionError(f"{reason} Choose another method, or auto.")
    return Calibration(
        method=method,
        parameters=(_fitted(_leaf(method), logits, y_true, several),),
        fitted_on=fitted_on,
        num_units=len(logits),
        num_groups=len(group_sizes(index)),
    )


def calibration_losses(
    logits: Float[np.ndarray, "n classes"],
    y_true: Labels,
    groups: Sequence[Hashable] | None,
    *,
    methods: Sequence[str],
    several: bool,
    seed: int = 0,
) -> dict[str, float]:
    """Mean log loss (nats) a case, or a label, of each method in grouped cross-validation; infinite where it fails.

    A method fails when a fold leaves a class that it needs without a case.
    """
    logits, y_true, index = _in_order(logits, y_true, groups)
    fold = _folds(index, seed)
    losses = {}
    for name in methods:
        leaf, total, count = _leaf(name), 0.0, 0
        try:
            for k in range(FOLDS):
                kept, held = fold != k, fold == k
                if held.any():
                    probs = _applied(leaf, logits[held], _fitted(leaf, logits[kept], y_true[kept], several), several)
                    loss = _losses(probs, y_true[held], several)
                    total, count = total + float(loss.sum()), count + len(loss)
            losses[name] = total / count
        except DecisionError:
            losses[name] = np.inf
    return losses


@cache  # finding a leaf takes longer than most fits
def _leaf(name: str) -> ModuleType:
    return load_leaf(CALIBRATORS_PACKAGE, name, kind="calibration method")


def _suiting(logits: np.ndarray, y_true: np.ndarray, needs_intercept: bool, several: bool) -> list[CalibrationMethod]:
    """Methods that these cases allow, simplest first."""
    reasons = {name: _unsuited(name, logits, y_true, needs_intercept, several) for name in METHODS}
    if suiting := [name for name in METHODS if reasons[name] is None]:
        return suiting
    leaves = [_leaf(name) for name in METHODS]
    fewest = min(leaf.MIN_CASES for leaf in leaves if leaf.HAS_INTERCEPT or not needs_intercept)
    raise DecisionError(
        f"Calibration must have at least {fewest} cases to be fitted on. Got {_num_cases(y_true, several)}. "
        "Add cases where it is fitted, or take none."
    )


def _unsuited(name: str, logits: np.ndarray, y_true: np.ndarray, needs_intercept: bool, several: bool) -> str | None:
    """Why a method cannot be fitted here: what must hold and what came; None where it can."""
    leaf = _leaf(name)
    num_classes = 2 if several else logits.shape[1]
    most = leaf.MOST_CLASSES
    if num_classes < leaf.FEWEST_CLASSES or (most is not None and num_classes > most):
        other = "platt" if num_classes == 2 else "temperature_bias"
        return f"The calibration must suit the classes. Got {name} for {num_classes}, where {other} is meant."
    if (count := _num_cases(y_true, several)) < leaf.MIN_CASES:
        return f"{name} must have at least {leaf.MIN_CASES} cases to be fitted on. Got {count}."
    if needs_intercept and not leaf.HAS_INTERCEPT:
        return (
            f"After class weights or a balanced sampler a calibration must have an intercept a class. Got {name}, "
            "which leaves mean probabilities wrong."
        )
    return None


def _num_cases(y_true: np.ndarray, several: bool) -> int:
    """Cases that a fit has: of several labels those of the label that fewest were assessed for."""
    return int((~np.isnan(y_true)).sum(axis=0).min()) if several else len(y_true)


def _fitted(leaf: ModuleType, logits: np.ndarray, y_true: np.ndarray, several: bool) -> Parameters:
    if not several:
        return leaf.fit(logits, y_true)
    parameters: Parameters = {}
    for k, (logit, label) in enumerate(zip(logits.T, y_true.T, strict=True)):
        known = ~np.isnan(label)
        if len(np.unique(label[known])) < 2:
            raise DecisionError(
                f"Calibration of several labels needs images with and without each. Got only one of them for class "
                f"number {k}. Put both where it is fitted, or take none."
            )
        fitted = leaf.fit(_as_two(logit[known]), label[known].astype(np.int64))
        parameters |= {f"{key}_{k}": values for key, values in fitted.items()}
    return parameters


def _applied(
    leaf: ModuleType, logits: np.ndarray, parameters: Mapping[str, tuple[float, ...]], several: bool
) -> Float[np.ndarray, "n classes"]:
    if not several:
        return np.exp(leaf.apply(logits, parameters))
    columns = []
    for k, logit in enumerate(logits.T):
        own = {key.removesuffix(f"_{k}"): values for key, values in parameters.items() if key.endswith(f"_{k}")}
        columns.append(np.exp(leaf.apply(_as_two(logit), own)[:, 1]))
    return np.stack(columns, axis=1)


def _as_two(logit: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n two"]:
    """One label as two classes, absent and present."""
    return np.stack([np.zeros_like(logit), logit], axis=1)


def _losses(probs: np.ndarray, y_true: np.ndarray, several: bool) -> Float[np.ndarray, "_cases"]:
    tiny = np.finfo(np.float64).tiny
    if not several:
        return -np.log(np.maximum(np.take_along_axis(probs, y_true[:, np.newaxis], axis=1)[:, 0], tiny))
    given = np.where(y_true == 1, probs, 1 - probs)[~np.isnan(y_true)]
    return -np.log(np.maximum(given, tiny))


def _in_order(
    logits: np.ndarray, y_true: np.ndarray, groups: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits in float64, labels and numbers of groups, ordered by what rows hold: a shuffled table gives the same."""
    labels, index = np.nan_to_num(y_true, nan=-1.0).reshape(len(y_true), -1), group_numbers(groups, len(logits))
    order = np.lexsort((index, *labels.T, *logits.T))
    return logits[order].astype(np.float64), y_true[order], index if groups is None else index[order]


def _folds(group_index: np.ndarray, seed: int) -> Int[np.ndarray, "n"]:
    """The fold of each row, groups dealt in a drawn order.

    Not by class: in folds that all have the classes' shares of this sample, intercepts that learn these shares by heart
    would look right.
    """
    inverse = np.unique(group_index, return_inverse=True)[1]
    num_groups = int(inverse.max()) + 1
    fold = np.empty(num_groups, dtype=np.int64)
    fold[np.random.default_rng([seed, 3]).permutation(num_groups)] = np.arange(num_groups) % FOLDS
    return fold[inverse]
