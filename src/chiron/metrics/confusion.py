"""Confusion matrices with a fixed label list, and the one-vs-rest counts read from them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Num

from chiron.core.errors import MetricError


class Counts(NamedTuple):
    """One-vs-rest counts; the last axis is the class."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray


def confusion_matrix(
    y_true: Int[np.ndarray, "n"], y_pred: Int[np.ndarray, "n"], *, num_classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Number of images by reference class (row) and predicted class (column).

    Args:
        y_true: class index of the reference standard.
        y_pred: class index of the model.
        num_classes: length of the fixed label list; an absent class keeps its row and column.
    Raises:
        MetricError: lengths differ or an index lies outside the label list.
    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2)
        array([[1, 0],
               [1, 1]])
    """
    y_true = check_labels(y_true, num_classes, "y_true")
    y_pred = check_labels(y_pred, num_classes, "y_pred")
    if len(y_true) != len(y_pred):
        raise MetricError(
            f"y_true and y_pred must have one entry a row. Got {len(y_true)} and {len(y_pred)}. "
            "Give the same rows to both."
        )
    cells = np.bincount(y_true * num_classes + y_pred, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def one_vs_rest(confusion: Num[np.ndarray, "*batch classes classes"]) -> Counts:
    """The counts of each class against all others.

    Example:
        >>> one_vs_rest(np.array([[5, 1], [2, 4]])).tp
        array([5, 4])
    """
    tp = np.diagonal(confusion, axis1=-2, axis2=-1)
    fn = confusion.sum(axis=-1) - tp
    fp = confusion.sum(axis=-2) - tp
    tn = confusion.sum(axis=(-2, -1))[..., np.newaxis] - tp - fn - fp
    return Counts(tp, fp, fn, tn)


def check_labels(labels: np.ndarray, num_classes: int, name: str) -> Int[np.ndarray, "n"]:
    """The labels as 64-bit class indices.

    Raises:
        MetricError: there is no row, the labels are not whole numbers, or one lies outside the label list.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.size == 0:
        raise MetricError(
            f"{name} must be a list of at least one class index. Got shape {labels.shape}. Give one a row."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise MetricError(
            f"{name} must hold class indices. Got values of type {labels.dtype}. "
            "Leave out rows without a reference label and turn class names into their index."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        wrong = int(labels.min()) if labels.min() < 0 else int(labels.max())
        raise MetricError(
            f"{name} must lie in 0..{num_classes - 1}, the {num_classes} classes of the label list. Got {wrong}. "
            "Check that labels and probabilities use the same label list."
        )
    return labels.astype(np.int64)
