"""Several images of one unit become one row of logits, by the rule of the recipe."""

import numpy as np
from jaxtyping import Float, Int

from chiron.core.errors import DecisionError
from chiron.decide.probabilities import log_softmax
from chiron.spec.decision import CombineRule


def combine_logits(
    logits: Float[np.ndarray, "n classes"],
    unit_index: Int[np.ndarray, "n"],
    rule: CombineRule,
    *,
    several: bool,
    positive_index: int | None = None,
) -> Float[np.ndarray, "_units classes"]:
    """The logits of every unit, in the order of its number and in the type of `logits`.

    A unit with one image keeps its logits to the byte, and the order of the images changes nothing.
    `mean_logit` is the mean; `mean_prob` gives the logarithm of the mean probability (of several labels the logit of
    it); `max_prob` takes the image most like the positive class, or of several labels the largest logit of each.

    Args:
        unit_index: the unit of each image; every number from 0 to the largest one occurs.
        several: whether an image can have several labels, each with a logit of its own.
        positive_index: the class that `max_prob` looks for among two.
    Raises:
        DecisionError: a unit has no image, or `max_prob` is asked of classes that exclude each other without a
            positive one among two.
    """
    images = np.bincount(unit_index)
    if len(unit_index) != len(logits) or not images.all():
        raise DecisionError(
            f"Every image must have a unit, and every unit an image. Got {len(unit_index)} numbers for {len(logits)} "
            f"images and {int((images == 0).sum())} units without one. Number the units from 0."
        )
    if rule == "max_prob" and not several and (logits.shape[1] != 2 or positive_index is None):
        raise DecisionError(
            f"max_prob needs two classes with a positive one, or several labels. Got {logits.shape[1]} classes. "
            "Take mean_prob or mean_logit."
        )
    order = np.lexsort((*logits.T, unit_index))
    starts = np.append(0, np.cumsum(images)[:-1])
    rows = logits[order].astype(np.float64)
    if rule == "mean_logit":
        combined = np.add.reduceat(rows, starts) / images[:, np.newaxis]
    elif rule == "mean_prob":
        combined = _mean_prob(rows, starts, images, several)
    elif several:
        combined = np.maximum.reduceat(rows, starts)
    else:
        combined = _most_positive(rows, starts, images, int(positive_index or 0))
    combined = combined.astype(logits.dtype)
    alone = images == 1
    combined[alone] = logits[order[starts[alone]]]
    return combined


def _mean_prob(
    rows: Float[np.ndarray, "n classes"], starts: np.ndarray, images: np.ndarray, several: bool
) -> Float[np.ndarray, "_units classes"]:
    if not several:
        return _log_mean(log_softmax(rows), starts, images)
    present, absent = -np.logaddexp(0, -rows), -np.logaddexp(0, rows)
    return _log_mean(present, starts, images) - _log_mean(absent, starts, images)


def _log_mean(
    log_values: Float[np.ndarray, "n classes"], starts: np.ndarray, images: np.ndarray
) -> Float[np.ndarray, "_units classes"]:
    """The logarithm of each unit's mean, by its largest value so that nothing becomes zero."""
    largest = np.maximum.reduceat(log_values, starts)
    sums = np.add.reduceat(np.exp(log_values - np.repeat(largest, images, axis=0)), starts)
    return largest + np.log(sums / images[:, np.newaxis])


def _most_positive(
    rows: Float[np.ndarray, "n two"], starts: np.ndarray, images: np.ndarray, positive_index: int
) -> Float[np.ndarray, "_units two"]:
    margin = rows[:, positive_index] - rows[:, 1 - positive_index]
    order = np.lexsort((margin, np.repeat(np.arange(len(images)), images)))
    return rows[order[starts + images - 1]]
