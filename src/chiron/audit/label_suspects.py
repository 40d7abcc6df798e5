"""Label suspects: images whose given label the out-of-fold predictions contradict, the most suspicious first.

Confident learning: a class's threshold is the mean probability that its own images get for it. An image is a suspect
when another class reaches its threshold and its own label's class does not lead. A suspect is a question for a person,
never a correction.

Source: Northcutt, Jiang and Chuang 2021, doi:10.1613/jair.1.12125.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chiron.audit.facts import ImageFacts
from chiron.audit.probe_scores import grouped_folds
from chiron.core.errors import DataError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions

_STRENGTH = 0.01  # inverse penalty: few images and several hundred features


@dataclass(frozen=True)
class LabelSuspect:
    """One image whose label is doubted."""

    sample_id: str
    group_id: str
    label: str
    suggested: str  # the class that the predictions favor
    probability: float  # of the given label, out of fold
    suggested_probability: float
    score: float  # by which the list is ordered: the lower, the more suspicious; at most 0 is unlike its own class


@dataclass(frozen=True)
class SuspectReport:
    """Suspects in order, and what they were found with; `thresholds` are means over the images of all folds."""

    suspects: tuple[LabelSuspect, ...]
    num_images: int
    num_groups: int
    thresholds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TornGroup:
    """Images of one id whose labels differ: a lesion or a patient that is two things."""

    column: str
    value: str
    images: tuple[tuple[str, str], ...]  # (sample_id, label)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def class_thresholds(
    y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"]
) -> Float[np.ndarray, "classes"]:
    """The mean probability of each class over the images that are labeled so; NaN for a class without images."""
    counts = np.bincount(y_true, minlength=y_prob.shape[1])
    own = np.bincount(y_true, weights=y_prob[np.arange(len(y_true)), y_true], minlength=y_prob.shape[1])
    return np.divide(own, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def suspicion_scores(
    y_true: Int[np.ndarray, "n"], y_prob: Float[np.ndarray, "n classes"], groups: Sequence[str]
) -> tuple[Float[np.ndarray, "n"], Int[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """(score, suggested class, whether it is a suspect) of every image; the lower the score, the more suspicious.

    The score is the margin of the given label over the best other class, each counted from its class's threshold, and
    averaged over the images of a group that have the same label: they were labeled together. A class without images is
    never suggested.
    """
    rows = np.arange(len(y_true))
    margins = y_prob - class_thresholds(y_true, y_prob)
    others = np.where(np.isnan(margins), -np.inf, margins)
    own = others[rows, y_true]
    others[rows, y_true] = -np.inf
    suggested = others.argmax(axis=1)
    best = others[rows, suggested]
    _, labeled_together = np.unique(
        [f"{label}/{group}" for label, group in zip(y_true, groups, strict=True)], return_inverse=True
    )
    total = np.bincount(labeled_together, weights=own - best)
    score = (total / np.bincount(labeled_together))[labeled_together]
    return score, suggested, (best >= 0) & (best > own)


def rank_suspects(
    y_true: Int[np.ndarray, "n"],
    y_prob: Float[np.ndarray, "n classes"],
    groups: Sequence[str],
    classes: Sequence[str],
    sample_ids: Sequence[str],
    fold: Int[np.ndarray, "n"] | None = None,
) -> SuspectReport:
    """The suspects among images with a known label, the most suspicious first.

    Args:
        y_true: place of the given label in `classes`.
        y_prob: out-of-fold probabilities: of networks, or of `out_of_fold_probabilities`.
        fold: which network predicted a row. Each has its own thresholds, as one may be surer of all images than
            another; the margins are then ranked together. None: all rows share the thresholds.
    Raises:
        DataError: the arrays do not have one row an image, or a probability is not finite.
    """
    shape = (len(y_true), len(classes))
    if y_prob.shape != shape or len(groups) != len(y_true) or len(sample_ids) != len(y_true):
        raise DataError(
            f"Labels, probabilities, groups and ids must have one row an image, and probabilities a column a class, "
            f"{shape}. Got {y_prob.shape}, {len(groups)} groups and {len(sample_ids)} ids. Give the same rows."
        )
    if not np.isfinite(y_prob).all():
        raise DataError("Probabilities must be finite numbers. Got NaN or infinity. Leave out failed rows.")
    fold = np.zeros(len(y_true), dtype=np.int64) if fold is None else fold
    score, suggested, is_suspect = np.zeros(len(y_true)), np.zeros_like(y_true), np.zeros(len(y_true), dtype=bool)
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        score[rows], suggested[rows], is_suspect[rows] = suspicion_scores(
            y_true[rows], y_prob[rows], [groups[row] for row in rows.tolist()]
        )
    order = sorted(np.flatnonzero(is_suspect).tolist(), key=lambda row: (score[row], sample_ids[row]))
    suspects = tuple(
        LabelSuspect(
            sample_id=sample_ids[row],
            group_id=groups[row],
            label=classes[y_true[row]],
            suggested=classes[suggested[row]],
            probability=float(y_prob[row, y_true[row]]),
            suggested_probability=float(y_prob[row, suggested[row]]),
            score=float(score[row]),
        )
        for row in order
    )
    thresholds = class_thresholds(y_true, y_prob)
    known = {name: float(value) for name, value in zip(classes, thresholds, strict=True) if np.isfinite(value)}
    return SuspectReport(suspects, len(y_true), len(set(groups)), known)


def suspects_without_network(manifest: Manifest, facts: ImageFacts, *, seed: int = 0) -> SuspectReport:
    """Suspects by a small model on thumbnails, colors and gradients: a first look before any training.

    Args:
        facts: of all rows of the manifest, in its order.
    Raises:
        DataError: several labels an image, or fewer than two classes with a group for each of two folds.
    """
    if manifest.is_multi_label:
        raise DataError("Label suspects need one class an image. Got a column a class. Look at one class at a time.")
    usable = (manifest.labels >= 0) & facts.frame["mean"].is_not_null().to_numpy()
    rows = np.flatnonzero(usable)[manifest.frame["sample_id"].to_numpy()[usable].argsort()]
    frame, y_true = manifest.frame[rows], manifest.labels[rows]
    groups = frame["group_id"].to_list()
    y_prob = out_of_fold_probabilities(
        simple_features(facts.rows(rows)), y_true, groups, len(manifest.classes), seed=seed
    )
    return rank_suspects(y_true, y_prob, groups, manifest.classes, frame["sample_id"].to_list())


def simple_features(facts: ImageFacts) -> Float[np.ndarray, "n _features"]:
    """Thumbnail, color histogram, gradients, and a few numbers of every readable image."""
    numbers = facts.frame.select("mean", "std", "chroma", pl.col("sharpness").log()).to_numpy()
    return np.hstack([facts.thumbnail, np.sqrt(facts.histogram), facts.gradients, numbers]).astype(np.float64)


def out_of_fold_probabilities(
    features: Float[np.ndarray, "n _features"],
    y_true: Int[np.ndarray, "n"],
    groups: Sequence[str],
    num_classes: int,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Float[np.ndarray, "n classes"]:
    """Probabilities of every image by a logistic regression on the other folds; groups stay whole.

    Probability 0 for a class that the other folds do not hold.

    Raises:
        DataError: there are not two classes that each have a group in two folds.
    """
    group_index = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
    sizes = sorted(len(np.unique(group_index[y_true == k])) for k in np.unique(y_true))
    if len(sizes) < 2 or sizes[-2] < 2:
        raise DataError(
            f"Predictions out of fold need two classes with two groups or more. Got groups {sizes}. Add labeled images."
        )
    fold = grouped_folds(y_true, group_index, folds=min(folds, sizes[-2]), seed=seed)
    y_prob = np.zeros((len(y_true), num_classes))
    for number in np.unique(fold):
        held_out = fold == number
        present = np.unique(y_true[~held_out])
        if len(present) == 1:
            y_prob[held_out, present[0]] = 1.0
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=300))
        model.fit(features[~held_out], y_true[~held_out])
        y_prob[np.ix_(held_out, present)] = model.predict_proba(features[held_out])
    return y_prob


def suspects_of_folds(tables: Sequence[Path]) -> SuspectReport:
    """Suspects by networks: the predictions of several folds, each image held out once.

    Args:
        tables: predictions/test.csv (or val.csv, where the folds are val) of the run of every fold.
    Raises:
        DataError: no table, several labels an image, tables of other classes, or an image that stands in two of them.
    """
    if not tables:
        raise DataError("Label suspects need a table of predictions. Got none. Name predictions/test.csv of each fold.")
    read = [Predictions.load(path) for path in tables]
    if several := next((path for path, table in zip(tables, read, strict=True) if table.is_multi_label), None):
        raise DataError(
            f"Label suspects need tables of one class an image. Got several labels an image in {several}. "
            "Leave out the predictions, or look at one class at a time."
        )
    classes = read[0].classes
    if strange := next((p for p, table in zip(tables, read, strict=True) if table.classes != classes), None):
        raise DataError(f"All folds must have the classes {', '.join(classes)}. Got others in {strange}.")
    sample_ids = [name for table in read for name in table.scored["sample_id"]]
    if repeated := sorted(name for name, times in Counter(sample_ids).items() if times > 1):
        raise DataError(
            f"Every image must be held out by one fold. Got {len(repeated):,} twice: {', '.join(repeated[:5])}. "
            "Name one table a fold, all of one division."
        )
    groups = [
        group for table in read for group in (table.groups or [f"g-{name}" for name in table.scored["sample_id"]])
    ]
    y_true = np.concatenate([table.y_true for table in read])
    fold = np.repeat(np.arange(len(read)), [len(table.y_true) for table in read])
    return rank_suspects(y_true, np.concatenate([table.y_prob for table in read]), groups, classes, sample_ids, fold)


def torn_groups(manifest: Manifest) -> list[TornGroup]:
    """Units and patients whose images have different labels, sorted; a patient may well have several lesions.

    Equal pictures with different labels are `chiron.data.identity.label_conflicts`.
    """
    found = []
    for column in ("unit_id", "patient_id"):
        known = manifest.frame.filter(
            pl.col(column).is_not_null(), pl.any_horizontal(pl.col(manifest.label_columns).is_not_null())
        )
        several = known.group_by(column).agg(pl.col(name).drop_nulls().n_unique() for name in manifest.label_columns)
        torn = several.filter(pl.any_horizontal(pl.col(name) > 1 for name in manifest.label_columns))[column]
        of_torn = known.filter(pl.col(column).is_in(torn.implode())).sort(column, "sample_id")
        for rows in of_torn.partition_by(column, maintain_order=True):
            images = zip(rows["sample_id"], _label_texts(rows, manifest), strict=True)
            found.append(TornGroup(column, rows[column][0], tuple(images)))
    return found


def _label_texts(rows: pl.DataFrame, manifest: Manifest) -> list[str]:
    if not manifest.is_multi_label:
        return [str(label) for label in rows["label"]]
    names = zip(manifest.classes, manifest.label_columns, strict=True)
    parts = [rows[column].cast(pl.String).fill_null("?") for _, column in names]
    return [
        ", ".join(f"{name} {value}" for name, value in zip(manifest.classes, row, strict=True))
        for row in zip(*parts, strict=True)
    ]
