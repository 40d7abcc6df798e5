"""Baselines: equality with scikit-learn, choice on val, and features without a look at the label."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from chiron.core.errors import SpecError
from chiron.data.manifest import Manifest
from chiron.workflows.baselines import NEIGHBORS, PENALTIES, Rows, knn, logistic, majority, metadata


@pytest.fixture
def rows(tmp_path) -> Rows:
    rng, n = np.random.default_rng(0), 300
    label = rng.integers(3, size=n)
    age = np.where(rng.random(n) < 0.1, np.nan, 40 + 10 * label + rng.normal(0, 8, n))
    frame = pl.DataFrame(
        {
            "sample_id": [f"s{k:03d}" for k in range(n)],
            "path": [f"{k}.png" for k in range(n)],
            "label": [("a", "b", "c")[k] for k in label],
            "split": [("train", "train", "val", "test")[k % 4] for k in range(n)],
            "age": pl.Series(age).fill_nan(None),
            "sex": [("f", "m")[k] for k in rng.integers(2, size=n)],
            "dx_type": [("x", "y", "z")[k] for k in label],
        }
    )
    roles = {"age": "predictor", "sex": "predictor", "dx_type": "reference_standard"}
    return Rows.of(Manifest(frame=frame, classes=("a", "b", "c"), root=tmp_path, reader="table", roles=roles))


@pytest.fixture
def features(rows):
    rng = np.random.default_rng(1)
    found = {split: rng.normal(size=(len(labels), 12)) for split, labels in rows.y_true.items()}
    for split, labels in rows.y_true.items():
        found[split][:, :3] += 1.5 * np.eye(3)[labels]
    return found


def probs(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def test_majority_is_the_class_shares_of_train(rows):
    shares = np.bincount(rows.y_true["train"]) / len(rows.y_true["train"])
    assert probs(majority(rows).logits["test"]) == pytest.approx(np.tile(shares, (len(rows.y_true["test"]), 1)))


def test_the_linear_probe_is_scikit_learns_with_the_penalty_that_val_chooses(rows, features):
    found = logistic(features, rows)
    scaler = StandardScaler().fit(features["train"])
    train, val, test = (scaler.transform(features[split]) for split in ("train", "val", "test"))
    losses = {}
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=2000).fit(train, rows.y_true["train"])
        losses[penalty] = log_loss(rows.y_true["val"], model.predict_proba(val)), model
    best = min(losses, key=lambda penalty: losses[penalty][0])
    assert found.setting == f"C {best:g} by the log loss of val"
    assert probs(found.logits["test"]) == pytest.approx(losses[best][1].predict_proba(test), abs=1e-9)


def test_neighbors_are_scikit_learns_with_one_image_of_the_shares_added(rows, features):
    found = knn(features, rows)
    count = int(found.setting.split()[1])
    middle = features["train"].mean(axis=0)
    model = KNeighborsClassifier(count, metric="cosine").fit(features["train"] - middle, rows.y_true["train"])
    votes = model.predict_proba(features["test"] - middle) * count
    assert probs(found.logits["test"]) == pytest.approx((votes + rows.class_shares) / (count + 1), abs=1e-9)
    assert count in NEIGHBORS


def test_metadata_takes_predictors_alone_and_learns_from_train_alone(rows):
    found = metadata(rows)
    right = (found.logits["test"].argmax(axis=1) == rows.y_true["test"]).mean()
    assert 0.45 < right < 0.9  # age tells something; dx_type, which tells all, is left out
    assert found.setting.startswith("age, sex; C ")
    others = rows.frames["test"].with_columns(pl.lit(99.0).alias("age"), pl.lit("unseen").alias("sex"))
    moved = metadata(Rows(rows.manifest, rows.frames | {"test": others}, rows.y_true))
    assert moved.logits["val"] == pytest.approx(found.logits["val"], abs=1e-12)


def test_without_predictors_there_is_no_such_baseline(rows):
    from dataclasses import replace

    assert metadata(Rows(replace(rows.manifest, roles={}), rows.frames, rows.y_true)) is None


def test_several_labels_are_refused(tmp_path):
    frame = pl.DataFrame({"sample_id": ["a"], "path": ["a.png"], "label_x": [1], "label_y": [0]})
    manifest = Manifest(frame=frame, classes=("x", "y"), root=tmp_path, reader="table")
    with pytest.raises(SpecError, match="one class an image"):
        Rows.of(manifest)
