"""Trivial baselines of a study: what a class share, a table, a histogram or a network without training would score.

Each is fitted on train, its one setting is chosen by the log loss of val, and it leaves a table of predictions a split,
as a run does. A network that does not beat them has not been shown to see anything else.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chiron.audit.facts import measure_images
from chiron.audit.probe_features import as_numbers, texts
from chiron.core.errors import SpecError
from chiron.core.hashing import sha256_json
from chiron.data.manifest import Manifest
from chiron.data.predictions import ID_COLUMNS, Predictions
from chiron.data.source import ImageSource
from chiron.spec.labels import LabelSpace

log = logging.getLogger("chiron.study")
PENALTIES = tuple(10.0**k for k in range(-4, 3))  # C of scikit-learn: smaller is simpler
NEIGHBORS = (1, 3, 5, 11, 21, 51, 101)
_FEWEST_OF_A_VALUE = 5  # train images with a value of a category, for a column of its own

Features = Float[np.ndarray, "n _width"]
Split = Mapping[str, np.ndarray]  # train, val and test


@dataclass(frozen=True)
class Fitted:
    """Logits of a baseline for every split, and the setting that val chose."""

    logits: dict[str, Float[np.ndarray, "_n classes"]]
    setting: str


@dataclass(frozen=True)
class Rows:
    """The rows of a manifest that a baseline is fitted and scored on: readable and labeled."""

    manifest: Manifest
    frames: dict[str, pl.DataFrame]
    y_true: dict[str, Int[np.ndarray, "_n"]]

    @classmethod
    def of(cls, manifest: Manifest, splits: Sequence[str] = ("train", "val", "test")) -> "Rows":
        """The rows of the splits.

        Raises:
            SpecError: an image can have several classes.
        """
        if manifest.is_multi_label:
            raise SpecError(
                "A study compares models of one class an image. Got several classes an image. Compare such runs one by "
                "one with `chiron evaluate`."
            )
        usable = manifest.frame.filter((pl.col("status") == "ok") & pl.col("label").is_not_null())
        frames = {split: usable.filter(pl.col("split") == split) for split in splits}
        place = {name: k for k, name in enumerate(manifest.classes)}
        labels = {
            split: np.array([place[name] for name in frame["label"]], np.int64) for split, frame in frames.items()
        }
        return cls(manifest, frames, labels)

    @property
    def class_shares(self) -> Float[np.ndarray, "classes"]:
        """Shares of the classes among train images; an absent class counts as half an image."""
        counts = np.bincount(self.y_true["train"], minlength=len(self.manifest.classes)).astype(np.float64)
        counts = np.maximum(counts, 0.5)
        return counts / counts.sum()


def majority(rows: Rows) -> Fitted:
    """The class shares of train for every image: always the commonest class."""
    logits = np.log(rows.class_shares)
    return Fitted({split: np.tile(logits, (frame.height, 1)) for split, frame in rows.frames.items()}, "class shares")


def metadata(rows: Rows) -> Fitted | None:
    """Logistic regression on the columns that are known before the image is looked at; None without any."""
    names = [name for name, role in rows.manifest.roles.items() if role == "predictor"]
    blocks = [_column_features(rows.frames, name) for name in names]
    if not any(block["train"].shape[1] for block in blocks):
        return None
    joined = {split: np.hstack([block[split] for block in blocks]) for split in rows.frames}
    fitted = logistic(joined, rows)
    return Fitted(fitted.logits, f"{', '.join(names)}; {fitted.setting}")


def histogram(rows: Rows) -> Fitted:
    """Logistic regression on the color histogram: 16 bins a channel."""
    source = ImageSource(rows.manifest.root)
    measured = {split: np.sqrt(measure_images(source, frame).histogram) for split, frame in rows.frames.items()}
    return logistic({split: values.astype(np.float64) for split, values in measured.items()}, rows)


def linear_probe(features: Split, rows: Rows) -> Fitted:
    """Logistic regression on frozen features."""
    return logistic(features, rows)


def logistic(features: Split, rows: Rows) -> Fitted:
    """Standardized features, L2 penalty by the log loss of val."""

    def fit(penalty: float) -> Callable[[np.ndarray], np.ndarray]:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))
        model.fit(features["train"], rows.y_true["train"])
        known = model.classes_

        def logits(values: np.ndarray) -> np.ndarray:
            found = np.tile(np.log(rows.class_shares), (len(values), 1))  # of a class that train lacks
            found[:, known] = model.predict_log_proba(values)
            return found

        return logits

    if len(np.unique(rows.y_true["train"])) < 2:
        return majority(rows)
    return _chosen(fit, PENALTIES, "C", features, rows)


def knn(features: Split, rows: Rows) -> Fitted:
    """Shares of the classes among the nearest train images by the cosine of features centered on train.

    One image of the train shares is added to the neighbors, so that no class is impossible.
    """
    middle = features["train"].mean(axis=0)
    directions = {split: _unit_length(values - middle) for split, values in features.items()}
    most = min(max(NEIGHBORS), len(directions["train"]))
    search = NearestNeighbors(n_neighbors=most, metric="euclidean").fit(directions["train"])
    nearest = {
        split: rows.y_true["train"][search.kneighbors(values, return_distance=False)]
        for split, values in directions.items()
        if split != "train" and len(values)
    }

    def fit(count: int) -> Callable[[np.ndarray], np.ndarray]:
        def logits(labels: np.ndarray) -> np.ndarray:
            votes = (labels[:, :count, None] == np.arange(len(rows.class_shares))).sum(axis=1)
            return np.log((votes + rows.class_shares) / (count + 1))

        return logits

    counts = [count for count in NEIGHBORS if count <= most]
    return _chosen(fit, counts, "k", nearest, rows)


def _chosen(
    fit: Callable[[Any], Callable[[np.ndarray], np.ndarray]],
    settings: Sequence[Any],
    name: str,
    features: Split,
    rows: Rows,
) -> Fitted:
    """The setting with the least log loss on val; the first of equal ones."""
    models = {setting: fit(setting) for setting in settings}
    losses = {setting: _log_loss(model(features["val"]), rows.y_true["val"]) for setting, model in models.items()}
    best = min(losses, key=lambda setting: losses[setting])
    scored = {split: models[best](values) for split, values in features.items() if split != "train"}
    return Fitted(scored, f"{name} {best:g} by the log loss of val")


def _log_loss(logits: np.ndarray, y_true: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_probs[np.arange(len(y_true)), y_true].mean())


def _unit_length(values: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)


def _column_features(frames: Mapping[str, pl.DataFrame], name: str) -> dict[str, Features]:
    """A column for the linear model, by what train shows of it: a number and its square, or a column a value.

    A missing number is the mean of train, with a column that says so; a rare or new category is none of the columns.
    """
    train = as_numbers(frames["train"][name])
    if train is None or not np.isfinite(train).any():
        values = texts(frames["train"][name])
        common = sorted({value for value in values if values.count(value) >= _FEWEST_OF_A_VALUE})
        return {
            split: (np.array(texts(frame[name]), object)[:, None] == np.array(common, object)).astype(np.float64)
            for split, frame in frames.items()
        }
    mean, spread = np.nanmean(train), np.nanstd(train) or 1.0
    found = {}
    for split, frame in frames.items():
        numbers = frame[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        known = np.isfinite(numbers)
        scaled = np.where(known, (np.where(known, numbers, 0) - mean) / spread, 0)
        found[split] = np.column_stack([scaled, scaled**2, ~known]).astype(np.float64)
    return found


def save_tables(name: str, fitted: Fitted, rows: Rows, labels: LabelSpace, folder: Path, facts: dict[str, Any]) -> str:
    """Writes `predictions/val.csv` and `test.csv` as a run has them, and returns the id of what was fitted."""
    identity = sha256_json({split: logits.round(6).tolist() for split, logits in fitted.logits.items()})[:16]
    for split in ("val", "test"):
        frame = rows.frames[split]
        table = frame.select(
            *ID_COLUMNS,
            "split",
            pl.lit(rows.manifest.fold or 0).alias("fold"),
            pl.lit(0).alias("seed"),
            pl.lit(identity).alias("model_id"),
            pl.col("label").alias("y_true"),
            "status",
            *[column for column in rows.manifest.roles if column in frame.columns],
        ).with_columns(
            pl.Series(f"logit_{label}", fitted.logits[split][:, rows.manifest.classes.index(label)])
            for label in labels.names
        )
        told = {"bundle_id": identity, "model": name, "setting": fitted.setting, "grouping": rows.manifest.grouping}
        Predictions(table, labels.names, labels.positive, told | facts).save(folder / "predictions" / f"{split}.csv")
    log.info("baseline %s: %s", name, json.dumps(fitted.setting))
    return identity
