"""Units: what one answer is for. A table of images becomes one of lesions, exams or patients, one row each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from chiron.core.errors import DataError
from chiron.data.groups import is_blank
from chiron.data.manifest_columns import UNCERTAIN
from chiron.data.predictions import (
    STATUSES,
    Predictions,
    groups_of_rows,
    member_column_sets,
    reference_columns,
    score_kind,
)
from chiron.decide.combine import combine_logits
from chiron.decide.members import probabilities
from chiron.spec.decision import Calibration, Decision, Unit
from chiron.spec.labels import LabelSpace

UNIT_COLUMNS = {"unit": "unit_id", "patient": "patient_id"}
NUM_IMAGES = "num_images"  # column of a table of units: images whose outputs were combined
_WITH_SCORES = ("ok", "indeterminate", "no_reference")
_SMALLEST = 1e-15  # a probability of 0 that another program has rounded
_NAMED = 10  # units that a message names


@dataclass(frozen=True)
class Units:
    """A table with one row a unit, and which row each image went to."""

    predictions: Predictions
    unit_of_image: tuple[str, ...]  # one a row of the table of images
    num_blank: int  # images without an id, each a unit of its own


def at_unit(predictions: Predictions, decision: Decision) -> Units:
    """One row a unit of `decision`: outputs of its images combined, its label by the stated rule.

    A unit is scored when one of its images is (`status: ok`); its output is that of all its images that have one. A
    further column keeps its value where all images of the unit share it. A unit with one image keeps every number.

    Raises:
        DataError: the table does not name units, images of one unit have different labels or groups, or a rule does
            not fit the labels.
    """
    if decision.unit == "image":
        return Units(predictions, tuple(predictions.frame["sample_id"].cast(pl.String)), 0)
    require_unit(predictions.frame, decision.unit)
    column = UNIT_COLUMNS[decision.unit]
    names, num_blank = unit_names(predictions.frame["sample_id"].to_list(), predictions.frame[column].to_list())
    units = _Rows.of(names)
    frame = _carried(predictions, units).with_columns(
        _status(predictions.frame, units),
        *_labels(predictions.frame, predictions.classes, predictions.positive, units, decision),
        *_scores(predictions, units, decision),
    )
    made = replace(predictions, frame=frame, row_groups=_groups(predictions.group_of_rows, units, decision.unit))
    return Units(made, tuple(names), num_blank)


def require_unit(frame: pl.DataFrame, unit: Unit) -> None:
    """Stops at a table of images that names no unit of the kind; to be asked before images are scored.

    Raises:
        DataError: no image has an id of the unit.
    """
    column = UNIT_COLUMNS.get(unit)
    if column is not None and (column not in frame.columns or all(is_blank(it) for it in frame[column])):
        raise DataError(
            f"An answer for each {unit} needs the column {column}. Got a table that does not say it for any image. "
            "Add the column to the table, or use --unit image (in a recipe: decision.unit)."
        )


def require_answers(references: pl.DataFrame, labels: LabelSpace, decision: Decision) -> None:
    """Stops at images of which `at_unit` could make no units once they are scored; to be asked before they are.

    Args:
        references: ids, references and status as a table of predictions has them.
    Raises:
        DataError: as for `at_unit`.
    """
    if decision.unit == "image":
        return
    require_unit(references, decision.unit)
    ids = references[UNIT_COLUMNS[decision.unit]].to_list()
    units = _Rows.of(unit_names(references["sample_id"].to_list(), ids)[0])
    _labels(references, labels.names, labels.positive, units, decision)
    _groups(groups_of_rows(references), units, decision.unit)


def unit_names(sample_ids: Sequence[object], ids: Sequence[object]) -> tuple[list[str], int]:
    """The unit of every image, and how many images have none and are units of their own, called as the image is."""
    taken = {str(value).strip() for value in ids if not is_blank(value)}  # type: ignore[arg-type]
    names, num_blank = [], 0
    for sample_id, value in zip(sample_ids, ids, strict=True):
        if is_blank(value):  # type: ignore[arg-type]
            num_blank += 1
            names.append(f"image {sample_id}" if str(sample_id) in taken else str(sample_id))
        else:
            names.append(str(value).strip())
    return names, num_blank


@dataclass(frozen=True)
class _Rows:
    """Which images make which unit; units in the order of their first image."""

    names: list[str]
    index: Int[np.ndarray, "images"]

    @classmethod
    def of(cls, names: list[str]) -> "_Rows":
        place: dict[str, int] = {}
        index = np.array([place.setdefault(name, len(place)) for name in names], dtype=np.int64)
        return cls(list(place), index)

    def gather(self, values: Sequence[object], rows: np.ndarray) -> list[list[object]]:
        """The values of each unit's images, those of `rows` alone."""
        found: list[list[object]] = [[] for _ in self.names]
        for unit, value, counts in zip(self.index.tolist(), values, rows.tolist(), strict=True):
            if counts:
                found[unit].append(value)
        return found


def _carried(predictions: Predictions, units: _Rows) -> pl.DataFrame:
    """One row a unit: its name, and of the other columns what all its images share."""
    own = ("sample_id", "status", "y_true", NUM_IMAGES, *reference_columns(predictions.classes))
    others = [
        name
        for name in predictions.frame.columns
        if name not in own and not name.startswith(("logit_", "prob_", "member_"))
    ]
    shared = [pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()).alias(name) for name in others]
    frame = predictions.frame.with_columns(pl.Series("_unit", units.index))
    made = frame.group_by("_unit", maintain_order=True).agg(shared).drop("_unit")
    return made.select(pl.Series("sample_id", units.names, pl.String), *others)


def _status(frame: pl.DataFrame, units: _Rows) -> pl.Series:
    """The best that any image of the unit has, in the order of `STATUSES` but for what has no output."""
    order = [*_WITH_SCORES, *(status for status in STATUSES if status not in _WITH_SCORES)]
    rank = np.full(len(units.names), len(order))
    np.minimum.at(rank, units.index, [order.index(status) for status in frame["status"]])
    return pl.Series("status", [order[place] for place in rank], pl.String)


def _labels(
    frame: pl.DataFrame, classes: tuple[str, ...], positive: str | None, units: _Rows, decision: Decision
) -> list[pl.Series]:
    """The reference label of every unit, from its images with status ok."""
    is_ok = (frame["status"] == "ok").to_numpy()
    if "y_true" in frame.columns:
        found = units.gather(frame["y_true"].to_list(), is_ok)
        if decision.unit_label == "any_positive":
            labels = [_any_positive(own, classes, positive) for own in found]
        else:
            labels = [_one_label(own, classes, decision) for own in found]
        _require_one_label(units, found, labels, decision)
        return [pl.Series("y_true", labels, pl.String)]
    columns = []
    for name in reference_columns(classes):
        known = is_ok & frame[name].is_not_null().to_numpy()
        found = units.gather(frame[name].to_list(), known)
        if decision.unit_label == "any_positive":
            codes: list[object] = [next((code for code in (1, UNCERTAIN, 0) if code in own), None) for own in found]
        else:
            codes = [_one_label(own, (1, 0, UNCERTAIN), decision) for own in found]
        _require_one_label(units, found, codes, decision)
        columns.append(pl.Series(name, codes, pl.Int8))
    return columns


def _any_positive(labels: list[object], classes: tuple[str, ...], positive: str | None) -> object:
    if positive is None or len(classes) != 2:
        raise DataError(
            "decision.unit_label any_positive needs a positive class of two, or several labels an image. "
            f"Got {len(classes)} classes. Use same or most."
        )
    return positive if positive in labels else next(iter(labels), None)


def _one_label(labels: list[object], order: Sequence[object], decision: Decision) -> object:
    """The label that all images share, or by `most` the commonest (the first in the label list of equal ones)."""
    if len(set(labels)) <= 1:
        return next(iter(labels), None)
    if decision.unit_label == "same":
        return None
    counts = Counter(labels)
    return max(order, key=lambda label: counts[label])


def _require_one_label(units: _Rows, found: list[list[object]], labels: Sequence[object], decision: Decision) -> None:
    """Stops where the rule gives no label although images have some."""
    undecided = [
        f"{name} ({', '.join(str(label) for label in dict.fromkeys(own))})"
        for name, own, label in zip(units.names, found, labels, strict=True)
        if own and label is None
    ]
    if undecided:
        shown = "; ".join(undecided[:_NAMED]) + ("; ..." if len(undecided) > _NAMED else "")
        raise DataError(
            f"Images of one {decision.unit} must have one label. Got different ones in {len(undecided)} of "
            f"{len(units.names)}: {shown}. Mend the labels, or choose a rule: decision.unit_label any_positive or most."
        )


def _groups(of_images: list[str] | None, units: _Rows, unit: str) -> tuple[str, ...] | None:
    """The group of every unit, called as in the table of images, so that both resample alike."""
    if of_images is None:
        return None
    found = units.gather(of_images, np.ones(len(of_images), dtype=bool))
    divided = [name for name, own in zip(units.names, found, strict=True) if len(set(own)) > 1]
    if divided:
        raise DataError(
            f"All images of one {unit} must be of one group. Got several groups in {len(divided)}: "
            f"{', '.join(divided[:_NAMED])}. Mend group_id, or leave the column out."
        )
    return tuple(str(own[0]) for own in found)


def _scores(predictions: Predictions, units: _Rows, decision: Decision) -> list[pl.Series]:
    """Combined outputs of every unit, null where none of its images has one; and how many images have one."""
    frame, classes = predictions.frame, predictions.classes
    kind = score_kind(frame, classes)
    sets = [[f"{kind}_{name}" for name in classes], *member_column_sets(frame, classes)]
    values = {tuple(names): frame.select(pl.col(names).cast(pl.Float64)).to_numpy() for names in sets}
    rows = frame["status"].is_in(_WITH_SCORES).to_numpy() & np.all(
        [np.isfinite(scores).all(axis=1) for scores in values.values()], axis=0
    )
    made, inverse = np.unique(units.index[rows], return_inverse=True)
    counts = np.bincount(units.index[rows], minlength=len(units.names))
    columns = [pl.Series(NUM_IMAGES, counts)]
    for names, scores in values.items():
        whole = np.full((len(units.names), len(classes)), np.nan)
        whole[made] = _combined(scores[rows], inverse, predictions, decision, kind)
        columns += [pl.Series(name, whole[:, k]).fill_nan(None) for k, name in enumerate(names)]
    return columns


def _combined(
    scores: Float[np.ndarray, "n classes"],
    index: Int[np.ndarray, "n"],
    predictions: Predictions,
    decision: Decision,
    kind: str,
) -> Float[np.ndarray, "_units classes"]:
    """Scores of units in the kind they came in: probabilities of other programs go by way of their logarithms."""
    several = predictions.is_multi_label
    positive = None if predictions.positive is None else predictions.classes.index(predictions.positive)
    if kind == "logit":
        return combine_logits(scores, index, decision.combine, several=several, positive_index=positive)
    probs = np.clip(scores, _SMALLEST, 1)
    logits = np.log(probs) - (np.log1p(-np.clip(probs, None, 1 - _SMALLEST)) if several else 0.0)
    combined = combine_logits(logits, index, decision.combine, several=several, positive_index=positive)
    made = probabilities(combined[None], Calibration(), several=several)
    alone = np.bincount(index) == 1
    first = np.unique(index, return_index=True)[1]
    made[alone] = scores[first[alone]]
    return made
