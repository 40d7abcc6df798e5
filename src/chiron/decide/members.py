"""From the logits of one or several networks to probabilities, sets of classes and the score of a question."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from chiron.core.errors import DecisionError
from chiron.decide.calibrate import calibrated
from chiron.decide.conformal import cross_prediction_sets, prediction_sets
from chiron.spec.decision import Calibration, Decision


def probabilities(
    logits: Float[np.ndarray, "members n classes"], calibration: Calibration, *, several: bool
) -> Float[np.ndarray, "n classes"]:
    """Calibrated probabilities: of the mean logits, or the mean over networks that were calibrated one by one.

    Args:
        logits: of each network, or one set of all.
        several: whether an image can have several classes.
    Raises:
        DecisionError: networks that were calibrated one by one, and not a set of logits for each.
    """
    if len(calibration.parameters) <= 1:
        return calibrated(logits.mean(axis=0), calibration, several=several)
    return member_probabilities(logits, calibration, several=several).mean(axis=0)


def member_probabilities(
    logits: Float[np.ndarray, "members n classes"], calibration: Calibration, *, several: bool
) -> Float[np.ndarray, "members n classes"]:
    """Probabilities of each network by its own calibration.

    Raises:
        DecisionError: there is not a set of logits for each calibration.
    """
    if len(logits) != len(calibration.parameters):
        raise DecisionError(
            f"Networks that were calibrated one by one need the logits of each, {len(calibration.parameters)} sets. "
            f"Got {len(logits)}. Give member_logits."
        )
    return np.stack([calibrated(own, calibration, several=several, member=k) for k, own in enumerate(logits)])


def sets_of(
    logits: Float[np.ndarray, "members n classes"],
    decision: Decision,
    names: Sequence[str],
    *,
    by_values: Sequence[str] | None = None,
) -> Bool[np.ndarray, "n classes"] | None:
    """The prediction set of every row; None without conformal sets, or by a column whose values are not given."""
    conformal, calibration = decision.conformal, decision.calibration
    if conformal is None or (conformal.by not in ("all", "class") and by_values is None):
        return None
    if conformal.member_scores:
        return cross_prediction_sets(list(member_probabilities(logits, calibration, several=False)), conformal)
    probs = probabilities(logits, calibration, several=False)
    return prediction_sets(probs, conformal, classes=names, by_values=by_values)


def question_score(
    probs: Float[np.ndarray, "n classes"], asked: Sequence[str], names: Sequence[str]
) -> Float[np.ndarray, "n"]:
    """The score of a clinical question: the sum of the probabilities of its classes, in the order of `names`."""
    score = np.zeros(len(probs))
    for place, name in enumerate(names):  # column by column, so that a row's score does not depend on its neighbors
        if name in asked:
            score = score + probs[:, place]
    return np.minimum(score, 1.0)
