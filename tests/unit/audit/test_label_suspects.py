"""Label suspects: wrong labels come first, scores equal a naive loop, folds are joined by id, refusals are clear."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from audit_sets import make_set
from PIL import Image

from chiron.audit.label_suspects import (
    class_thresholds,
    out_of_fold_probabilities,
    rank_suspects,
    suspects_of_folds,
    suspects_without_network,
    suspicion_scores,
    torn_groups,
)
from chiron.core.errors import DataError

CLASSES = ("a", "b", "c")


def predicted(random, n=90, wrong=6):
    """Probabilities that know the true class, and labels of which the first ones are wrong."""
    true = random.permutation(np.arange(n) % 3)
    logits = random.normal(0, 0.5, (n, 3)) + 3 * np.eye(3)[true]
    y_prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = true.copy()
    labels[:wrong] = (labels[:wrong] + 1) % 3
    return true, labels, y_prob


def test_wrong_labels_come_first_with_the_class_they_look_like(random):
    true, labels, y_prob = predicted(random)
    ids = [f"s{k:03d}" for k in range(90)]
    report = rank_suspects(labels, y_prob, ids, CLASSES, ids)
    first = report.suspects[:3]  # the others may stay below the threshold, which half of a class does
    assert len(first) == 3
    assert {suspect.sample_id for suspect in first} < set(ids[:6])
    assert all(suspect.suggested == CLASSES[true[ids.index(suspect.sample_id)]] for suspect in first)
    assert all(suspect.label == CLASSES[labels[ids.index(suspect.sample_id)]] for suspect in first)
    assert [suspect.score for suspect in report.suspects] == sorted(suspect.score for suspect in report.suspects)
    assert len(report.suspects) < 12
    json.dumps(report.to_json())


def test_scores_equal_a_naive_loop(random):
    _, labels, y_prob = predicted(random, wrong=20)
    groups = [f"g{k // 3}" for k in range(90)]
    thresholds = [np.mean([y_prob[i, k] for i in range(90) if labels[i] == k]) for k in range(3)]
    assert class_thresholds(labels, y_prob) == pytest.approx(thresholds)
    score, suggested, is_suspect = suspicion_scores(labels, y_prob, groups)
    margins = []
    for i in range(90):
        others = {k: y_prob[i, k] - thresholds[k] for k in range(3) if k != labels[i]}
        best = max(others, key=lambda k: others[k])
        own = y_prob[i, labels[i]] - thresholds[labels[i]]
        assert suggested[i] == best
        assert is_suspect[i] == (others[best] >= 0 and others[best] > own)
        margins.append(own - others[best])
    for i in range(90):
        alike = [margins[j] for j in range(90) if groups[j] == groups[i] and labels[j] == labels[i]]
        assert score[i] == pytest.approx(np.mean(alike))


def test_a_class_without_images_is_never_suggested(random):
    _, labels, y_prob = predicted(random)
    labels = np.where(labels == 2, 0, labels)
    _, suggested, _ = suspicion_scores(labels, y_prob, list("x" * 90))
    assert 2 not in suggested


def test_rows_must_fit_and_be_finite(random):
    _, labels, y_prob = predicted(random)
    ids = [str(k) for k in range(90)]
    with pytest.raises(DataError, match=r"one row an image.*\(90, 2\). Got \(90, 3\)"):
        rank_suspects(labels, y_prob, ids, ("a", "b"), ids)
    y_prob[3, 1] = np.nan
    with pytest.raises(DataError, match=r"finite numbers. Got NaN"):
        rank_suspects(labels, y_prob, ids, CLASSES, ids)


def test_probabilities_of_a_group_come_from_models_that_did_not_see_it(random):
    features, labels = random.normal(size=(80, 4)), np.arange(80) % 2
    groups = [f"g{k // 4}" for k in range(80)]
    y_prob = out_of_fold_probabilities(features, labels, groups, 3)
    assert y_prob.sum(axis=1) == pytest.approx(np.ones(80))
    assert (y_prob[:, 2] == 0).all()
    alike = np.repeat(random.normal(size=(20, 4)), 4, axis=0) * 100  # a model that saw the group would know its label
    seen = random.permutation(np.arange(20) % 2)[np.arange(80) // 4]
    right = (out_of_fold_probabilities(alike, seen, groups, 2).argmax(axis=1) == seen).mean()
    assert right < 0.8
    with pytest.raises(DataError, match=r"two classes with two groups or more. Got groups \[1, 19\]"):
        out_of_fold_probabilities(features, (np.arange(80) < 4).astype(np.int64), groups, 2)


def striped(pixels, label, number):
    pixels = pixels // 3
    pixels[:, ::4] += np.uint8(90 if label == "sick" else 0)
    return Image.fromarray(pixels)


def test_without_a_network_planted_wrong_labels_are_found(tmp_path):
    manifest, facts = make_set(tmp_path, paint=striped)
    wrong = ["g003", "g010", "g041"]
    other = pl.when(pl.col("label") == "sick").then(pl.lit("well")).otherwise(pl.lit("sick"))
    label = pl.when(pl.col("group_id").is_in(wrong)).then(other).otherwise("label").alias("label")
    manifest = replace(manifest, frame=manifest.frame.with_columns(label))
    report = suspects_without_network(manifest, facts)
    assert {suspect.group_id for suspect in report.suspects[:6]} == set(wrong)
    order = np.random.default_rng(0).permutation(manifest.frame.height)
    shuffled = suspects_without_network(replace(manifest, frame=manifest.frame[order]), facts.rows(order))
    assert [suspect.sample_id for suspect in shuffled.suspects] == [suspect.sample_id for suspect in report.suspects]


def table(path, rows, classes=("a", "b")):
    frame = pl.DataFrame(
        rows, schema=["sample_id", "group_id", "y_true", *(f"prob_{name}" for name in classes)], orient="row"
    )
    frame.with_columns(pl.lit("ok").alias("status")).write_csv(path)
    path.with_suffix(".json").write_text(json.dumps({"classes": classes, "positive": None}))
    return path


def test_tables_of_folds_are_joined_by_id(tmp_path):
    rows = [(f"s{k}", f"g{k}", "ab"[k % 2], 0.9 - 0.8 * (k % 2), 0.1 + 0.8 * (k % 2)) for k in range(20)]
    rows[7] = ("s7", "g7", "b", 0.95, 0.05)
    one, other = table(tmp_path / "0.csv", rows[:10]), table(tmp_path / "1.csv", rows[10:])
    report = suspects_of_folds([one, other])
    assert [(suspect.sample_id, suspect.label, suspect.suggested) for suspect in report.suspects] == [("s7", "b", "a")]
    assert (report.num_images, report.num_groups) == (20, 20)
    with pytest.raises(DataError, match=r"held out by one fold. Got 10 twice: s0, s1"):
        suspects_of_folds([one, one])
    third = table(tmp_path / "2.csv", [("z", "z", "a", 1.0, 0.0)], classes=("a", "c"))
    with pytest.raises(DataError, match=r"must have the classes a, b. Got others in"):
        suspects_of_folds([one, third])
    with pytest.raises(DataError, match=r"need a table of predictions. Got none"):
        suspects_of_folds([])


def test_a_network_that_is_surer_of_everything_does_not_hide_the_suspects_of_another(tmp_path):
    """Thresholds are of one fold: those of a sure fold are out of reach in a timid one."""
    sure = [(f"a{k}", f"a{k}", "ab"[k % 2], 0.99 - 0.98 * (k % 2), 0.01 + 0.98 * (k % 2)) for k in range(40)]
    timid = [(f"z{k}", f"z{k}", "ab"[k % 2], 0.56 - 0.12 * (k % 2), 0.44 + 0.12 * (k % 2)) for k in range(10)]
    timid[3] = ("z3", "z3", "b", 0.58, 0.42)
    sure[7] = ("a7", "a7", "b", 0.999, 0.001)
    report = suspects_of_folds([table(tmp_path / "0.csv", sure), table(tmp_path / "1.csv", timid)])
    assert [suspect.sample_id for suspect in report.suspects] == ["a7", "z3"]
    own = [row[3] for row in (*sure, *timid) if row[2] == "a"]
    assert report.thresholds["a"] == pytest.approx(np.mean(own))


def test_tables_of_several_labels_an_image_are_refused(tmp_path):
    path = tmp_path / "several.csv"
    columns = {"sample_id": ["s"], "y_true_a": [1], "y_true_b": [0], "prob_a": [0.5], "prob_b": [0.5], "status": ["ok"]}
    pl.DataFrame(columns).write_csv(path)
    with pytest.raises(DataError, match=r"tables of one class an image. Got several labels an image in .*several.csv"):
        suspects_of_folds([path])


def test_units_and_patients_of_several_labels_are_listed(tmp_path):
    manifest, _ = make_set(tmp_path, count=8)
    frame = manifest.frame.with_columns(
        pl.Series("unit_id", ["u1", "u1", "u2", "u2", None, None, "u3", "u3"]),
        pl.Series("patient_id", ["p1"] * 4 + [None] * 4, dtype=pl.String),
        pl.Series("label", ["sick", "well", "sick", "sick", "sick", "well", "well", "well"]),
    )
    torn = torn_groups(replace(manifest, frame=frame))
    assert [(group.column, group.value, [label for _, label in group.images].count("well")) for group in torn] == [
        ("unit_id", "u1", 1),
        ("patient_id", "p1", 1),
    ]
    assert len(torn[1].images) == 4
    json.dumps([group.to_json() for group in torn])
