"""`Cases`: the checked arrays that every metric of one evaluation is computed from."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from chiron.core.errors import MetricError
from chiron.core.suggest import did_you_mean
from chiron.metrics.confusion import check_labels

SUM_TOLERANCE = 1e-3  # probabilities written with three decimals still sum to one

BinaryLabels = Int[np.ndarray, "n"] | Bool[np.ndarray, "n"]


@dataclass(frozen=True)
class Cases:
    """Labels, probabilities and groups of the same rows.

    Group numbers depend on the ids (or, without ids, on the rows' content) and not on the order of the rows, so that a
    shuffled table gives the same resamples.
    """

    y_true: Int[np.ndarray, "n"]
    y_prob: Float[np.ndarray, "n classes"]
    y_pred: Int[np.ndarray, "n"]
    group_index: Int[np.ndarray, "n"]
    num_groups: int
    classes: tuple[str, ...]
    positive_index: int | None
    groups_given: bool

    @property
    def num_images(self) -> int:
        """Number of rows."""
        return len(self.y_true)

    @property
    def num_classes(self) -> int:
        """Length of the label list."""
        return len(self.classes)

    def groups_among(self, rows: np.ndarray) -> int:
        """Number of groups with an image among `rows` (true or false a row)."""
        return int(np.count_nonzero(np.bincount(self.group_index[rows], minlength=self.num_groups)))


def check_cases(
    y_true: Int[np.ndarray, "n"],
    y_prob: Float[np.ndarray, "n classes"],
    *,
    classes: Sequence[str],
    positive: str | None,
    groups: Sequence[Hashable] | None,
) -> Cases:
    """The cases of one evaluation, checked; the predicted class is the most probable one (the first of equal ones).

    Raises:
        MetricError: the label list, an array, the positive class or the groups are not what they must be.
    """
    classes = tuple(classes)
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise MetricError(
            f"The label list must name at least two different classes. Got {list(classes)}. Mend the list."
        )
    y_true = check_labels(y_true, len(classes), "y_true")
    y_prob = _check_probabilities(y_prob, (len(y_true), len(classes)))
    group_index = _number_rows(y_true, y_prob, classes) if groups is None else number_groups(groups, len(y_true))
    return Cases(
        y_true=y_true,
        y_prob=y_prob,
        y_pred=y_prob.argmax(axis=1),
        group_index=group_index,
        num_groups=int(group_index.max()) + 1,
        classes=classes,
        positive_index=_positive_index(classes, positive),
        groups_given=groups is not None,
    )


def check_scores(y_true: BinaryLabels, y_score: Float[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
    """True / false labels and 64-bit scores of a one-vs-rest question.

    Raises:
        MetricError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    """
    positive = check_labels(np.asarray(y_true).astype(np.int64), 2, "y_true").astype(bool)
    scores = np.asarray(y_score, dtype=np.float64)
    if scores.shape != positive.shape:
        raise MetricError(
            f"y_true and y_score must have one entry a row. Got shapes {positive.shape} and {scores.shape}. "
            "Give the score of one class."
        )
    if not np.isfinite(scores).all():
        raise MetricError("Every score must be a finite number. Got NaN or infinity. Leave out failed rows.")
    return positive, scores


def _check_probabilities(y_prob: np.ndarray, shape: tuple[int, int]) -> Float[np.ndarray, "n classes"]:
    y_prob = np.asarray(y_prob, dtype=np.float64)
    if y_prob.shape != shape:
        raise MetricError(
            f"y_prob must have one row an image and one column a class, {shape}. Got {y_prob.shape}. "
            "Give the probability of every class of the label list."
        )
    if not np.isfinite(y_prob).all() or y_prob.min() < 0 or y_prob.max() > 1:
        row = int(np.flatnonzero(~((y_prob >= 0) & (y_prob <= 1)).all(axis=1))[0])
        raise MetricError(
            f"Every probability must lie in [0, 1]. Got {y_prob[row].tolist()} in row {row}. "
            "Apply softmax to logits and leave out failed rows."
        )
    sums = y_prob.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > SUM_TOLERANCE:
        raise MetricError(
            f"The probabilities of a row must sum to 1 (within {SUM_TOLERANCE}). Got {sums[worst]:.6g} in row {worst}. "
            "Apply softmax to logits; score independent labels one by one."
        )
    return y_prob


def _positive_index(classes: tuple[str, ...], positive: str | None) -> int | None:
    if len(classes) > 2:
        if positive is not None:
            raise MetricError(
                f"A positive class belongs to two classes. Got {positive!r} with {len(classes)} classes. Pass None."
            )
        return None
    if positive not in classes:
        hint = did_you_mean(positive, classes) if positive else ""
        raise MetricError(
            f"Two classes need the positive one by name, {classes[0]!r} or {classes[1]!r}. Got {positive!r}. "
            f"{hint or 'Name the class that the model is to find.'}"
        )
    return classes.index(positive)


def number_groups(groups: Sequence[Hashable], num_rows: int) -> Int[np.ndarray, "n"]:
    """The number of each row's group, from 0, in the order of the ids.

    Raises:
        MetricError: there is not one id a row, or one is missing.
    """
    ids = list(groups)
    if len(ids) != num_rows:
        raise MetricError(f"Groups must have one id a row, {num_rows}. Got {len(ids)}. Give one id for every image.")
    for row, group in enumerate(ids):
        if group is None or group == "" or group != group:
            raise MetricError(
                f"Every image must have a group id. Got {group!r} in row {row}. "
                "Give an image without a known patient an id of its own."
            )
    ordered = sorted(set(ids), key=lambda group: (type(group).__name__, str(group)))
    number = {group: index for index, group in enumerate(ordered)}
    return np.array([number[group] for group in ids], dtype=np.int64)


def _number_rows(y_true: np.ndarray, y_prob: np.ndarray, classes: tuple[str, ...]) -> Int[np.ndarray, "n"]:
    by_name = sorted(range(len(classes)), key=lambda index: classes[index])
    rank = np.argsort(by_name)  # of a class among the names in order
    order = np.lexsort((*y_prob[:, by_name].T, rank[y_true]))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return number
