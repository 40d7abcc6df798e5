"""Prediction sets: classes that fit a case well enough, so that a told share of sets holds the reference class.

Calibrated on units of the decision; several units of one group count as in `groups.py`, so that the promise is one
about units drawn with their groups. A part with too few groups has no quantile: such a class always enters, and such a
subgroup gets every class. The promise is an average over calibration sets: one of n units covers with a share that
itself has the distribution Beta(k, n + 1 - k).

The classifier gives no randomizer, so its APS and RAPS are the deterministic ones: equal outputs get equal sets,
whatever an image is called and wherever it is scored, and no set holds less for a drawn number. They cover at least
1 - alpha as the randomized ones do, more where scores tie (the last class always scores 1), with larger sets;
`docs/reference/validity/decisions.md` has both side by side. The randomizer is for that gate.

Sources: Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world, chapter 2 (by class: Vovk 2012,
arXiv:1209.2673); CV+: Romano, Sesia and Candès 2020, arXiv:2006.02544, and Barber et al. 2021, arXiv:1905.02928.
"""

from collections.abc import Hashable, Sequence
from functools import cache
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.core.errors import DecisionError
from chiron.core.registry import load_leaf
from chiron.decide.groups import group_numbers, group_sizes, num_missable
from chiron.spec.decision import Conformal, ConformalScore, FittedOn

SCORES_PACKAGE = "chiron.decide.conformal_scores"
CROSS_FITTED = "cross-fitted sets (CV+) are certain to cover 1 - 2 alpha alone, though they mostly cover 1 - alpha"


def fit_conformal(
    probs: Float[np.ndarray, "n classes"],
    y_true: Int[np.ndarray, "n"],
    groups: Sequence[Hashable] | None,
    *,
    classes: Sequence[str],
    score: ConformalScore,
    alpha: float,
    by: str,
    by_values: Sequence[str] | None = None,
    randomizer: Float[np.ndarray, "n"] | None = None,
    fitted_on: FittedOn,
) -> Conformal:
    """The quantile of every part, from units that neither training nor selection has seen.

    Args:
        probs: calibrated probabilities, one row a unit.
        groups: units of a group are not independent; None says that every unit is its own group.
        alpha: share of sets that may miss the reference class.
        by: `all`, `class` (the share holds for each reference class) or a column's name (for each of its values).
        by_values: that column.
        randomizer: a number in [0, 1) a unit; None gives the deterministic APS and RAPS.
    Raises:
        DecisionError: a column is named without its values, or an array does not fit.
    """
    _check(probs, classes, by, by_values, randomizer)
    own = _own_scores(score, probs, y_true, randomizer)
    index = group_numbers(groups, len(probs))
    parts = _parts(by, y_true, classes, by_values)
    return Conformal(
        score=score,
        alpha=alpha,
        by=by,
        quantiles={name: _quantile(own[rows], index[rows], alpha) for name, rows in parts.items()},
        num_groups={name: len(group_sizes(index[rows])) for name, rows in parts.items()},
        fitted_on=fitted_on,
    )


def prediction_sets(
    probs: Float[np.ndarray, "n classes"],
    conformal: Conformal,
    *,
    classes: Sequence[str],
    by_values: Sequence[str] | None = None,
    randomizer: Float[np.ndarray, "n"] | None = None,
) -> Bool[np.ndarray, "n classes"]:
    """Which classes stand in the set of each unit. A value of the column that calibration never met gets every class.

    Raises:
        DecisionError: the sets were cross-fitted, a column is missing, or an array does not fit.
    """
    if conformal.member_scores:
        raise DecisionError(
            f"Cross-fitted sets need the probabilities of every network. Got one of {len(conformal.member_scores)}. "
            "Use cross_prediction_sets."
        )
    _check(probs, classes, conformal.by, by_values, randomizer)
    limit = {name: np.inf if it is None else it for name, it in conformal.quantiles.items()}
    scores = _scores(conformal.score, probs, randomizer)
    if conformal.by == "all":
        return scores <= limit["all"]
    if conformal.by == "class":
        return scores <= np.array([limit[name] for name in classes])
    return scores <= np.array([limit.get(str(value), np.inf) for value in by_values or ()])[:, np.newaxis]


def fit_cross_conformal(
    member_probs: Sequence[Float[np.ndarray, "_n classes"]],
    member_y_true: Sequence[Int[np.ndarray, "_n"]],
    member_groups: Sequence[Sequence[Hashable]] | None,
    *,
    score: ConformalScore,
    alpha: float,
    member_randomizer: Sequence[Float[np.ndarray, "_n"]] | None = None,
) -> Conformal:
    """CV+: each network's scores of the units that it was not trained on; together all units, each once.

    The promise holds over all units, not by class or subgroup, and is weaker: see `CROSS_FITTED`.

    Args:
        member_probs: for each network its calibrated probabilities of its own held-out units.
    """
    drawn: list[np.ndarray | None] = [*member_randomizer] if member_randomizer else [None] * len(member_probs)
    own = [_own_scores(score, *rows) for rows in zip(member_probs, member_y_true, drawn, strict=True)]
    all_groups = [group for groups in member_groups for group in groups] if member_groups is not None else None
    sizes = group_sizes(group_numbers(all_groups, sum(map(len, own))))
    return Conformal(
        score=score,
        alpha=alpha,
        num_groups={"all": len(sizes)},
        member_scores=tuple(tuple(np.sort(scores).tolist()) for scores in own),
        largest_group=int(sizes.max()),
        fitted_on="cross_fit",
    )


def cross_prediction_sets(
    member_probs: Sequence[Float[np.ndarray, "n classes"]],
    conformal: Conformal,
    *,
    randomizer: Float[np.ndarray, "n"] | None = None,
) -> Bool[np.ndarray, "n classes"]:
    """Which classes stand in the set of each unit: those whose scores are not higher than most held-out ones.

    Args:
        member_probs: the calibrated probabilities of the same units by every network, in the order of the fit.
    Raises:
        DecisionError: the sets were not cross-fitted, or by another number of networks.
    """
    if len(member_probs) != len(conformal.member_scores):
        raise DecisionError(
            f"Cross-fitted sets need the probabilities of every network, {len(conformal.member_scores)}. "
            f"Got {len(member_probs)}. Give one array a network."
        )
    lower = np.zeros(member_probs[0].shape, dtype=np.int64)  # held-out units that fit better than this class would
    for probs, held_out in zip(member_probs, conformal.member_scores, strict=True):
        lower += np.searchsorted(held_out, _scores(conformal.score, probs, randomizer), side="left")
    count = sum(map(len, conformal.member_scores))
    missable = num_missable(count, conformal.largest_group, conformal.alpha)
    return lower < count - missable


def _scores(name: str, probs: np.ndarray, randomizer: np.ndarray | None) -> Float[np.ndarray, "n classes"]:
    return _leaf(name).scores(probs.astype(np.float64), randomizer)


@cache  # finding a leaf takes longer than the scores
def _leaf(name: str) -> ModuleType:
    return load_leaf(SCORES_PACKAGE, name, kind="conformal score")


def _own_scores(
    name: str, probs: np.ndarray, y_true: Int[np.ndarray, "n"], randomizer: np.ndarray | None
) -> Float[np.ndarray, "n"]:
    """The score of each unit's reference class."""
    return np.take_along_axis(_scores(name, probs, randomizer), y_true[:, np.newaxis], axis=1)[:, 0]


def _parts(
    by: str, y_true: np.ndarray, classes: Sequence[str], by_values: Sequence[str] | None
) -> dict[str, Bool[np.ndarray, "n"]]:
    if by == "all":
        return {"all": np.ones(len(y_true), dtype=bool)}
    if by == "class":
        return {name: y_true == k for k, name in enumerate(classes)}
    values = np.array([str(value) for value in by_values or ()])
    return {str(name): values == name for name in np.unique(values)}


def _quantile(scores: Float[np.ndarray, "part"], group_index: Int[np.ndarray, "part"], alpha: float) -> float | None:
    """The score that at most as many cases exceed as may be missed; None with too few cases."""
    if not len(scores):
        return None
    missed = num_missable(len(scores), int(group_sizes(group_index).max()), alpha)
    return float(np.sort(scores)[len(scores) - 1 - missed]) if missed >= 0 else None


def _check(
    probs: np.ndarray,
    classes: Sequence[str],
    by: str,
    by_values: Sequence[str] | None,
    randomizer: np.ndarray | None,
) -> None:
    if probs.shape[1] != len(classes):
        raise DecisionError(
            f"Prediction sets need a probability of every class, {len(classes)}. Got {probs.shape[1]} columns. "
            "Use the label list of the bundle."
        )
    if by not in ("all", "class") and (by_values is None or len(by_values) != len(probs)):
        got = "none" if by_values is None else f"{len(by_values)}"
        raise DecisionError(
            f"Prediction sets by {by!r} need its value for every unit, {len(probs)}. Got {got}. "
            "Give the column, or fit them for all."
        )
    if randomizer is not None and not ((randomizer >= 0) & (randomizer < 1)).all():
        raise DecisionError("Every randomizer must lie in [0, 1). Got others. Derive it from the unit's name.")
