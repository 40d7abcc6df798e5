"""Codes of several labels an image: never taken for one another, from a table to targets and references."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.core.errors import DataError
from chiron.data.assessed import assessed
from chiron.data.deal import class_counts
from chiron.data.identity import label_conflicts
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.split import assign_splits

CELLS = st.sampled_from([1, 0, -1, None])
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12)


def manifest_of(rows, root, **columns) -> Manifest:
    names = [f"s{n}" for n in range(len(rows))]
    frame = pl.DataFrame(
        {"sample_id": names, "path": [f"{name}.png" for name in names]}
        | {f"label_{name}": [row[k] for row in rows] for k, name in enumerate(("a", "b"))}
        | columns,
        schema_overrides={"label_a": pl.Int8, "label_b": pl.Int8},
    )
    return Manifest(frame, ("a", "b"), root, "manifest")


@given(TABLES)
def test_the_four_codes_stay_apart_and_survive_saving(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("m")
    before = manifest_of(rows, folder)
    code = {1: 1, 0: 0, -1: -2, None: -1}
    assert before.labels.tolist() == [[code[cell] for cell in row] for row in rows]
    before.save(folder)
    after = Manifest.load(folder)
    np.testing.assert_array_equal(after.labels, before.labels)
    assert (after.digest, after.classes) == (before.digest, before.classes)
    assert class_counts(after, after.frame).tolist() == [[int(cell == 1) for cell in row] for row in rows]


@given(TABLES, st.sampled_from(["ignore", "zeros", "ones"]))
def test_targets_and_references_are_the_same_for_every_policy(tmp_path_factory, rows, policy):
    counts_as = {1: 1.0, 0: 0.0, None: math.nan, -1: {"ignore": math.nan, "zeros": 0.0, "ones": 1.0}[policy]}
    expected = np.array([[counts_as[cell] for cell in row] for row in rows])
    manifest = manifest_of(rows, tmp_path_factory.getbasetemp())
    np.testing.assert_array_equal(manifest.targets(policy), expected)
    table = manifest.frame.select(
        "sample_id",
        "status",
        *[pl.col(f"label_{name}").alias(f"y_true_{name}") for name in ("a", "b")],
        *[pl.lit(0.0).alias(f"logit_{name}") for name in ("a", "b")],
    )
    predictions = Predictions(table, ("a", "b"), facts={"uncertain": policy})
    np.testing.assert_array_equal(predictions.y_true, expected)
    assert predictions.num_uncertain == sum(cell == -1 for row in rows for cell in row)


def test_what_is_not_assessed_is_never_what_is_uncertain():
    labels = np.array([[-1.0, np.nan]])
    np.testing.assert_array_equal(assessed(labels, "ones"), [[1.0, np.nan]])
    np.testing.assert_array_equal(assessed(labels, "ignore"), [[np.nan, np.nan]])


def test_a_doubted_label_contradicts_no_other(tmp_path):
    pixels = {"pixels_sha256": ["x", "x", "y", "y"]}
    doubted = manifest_of([(1, 0), (-1, None), (1, 0), (0, 0)], tmp_path, **pixels)
    (conflict,) = label_conflicts(doubted.frame)
    assert [path for path, _ in conflict.images] == ["s2.png", "s3.png"]


def test_some_of_several_classes_can_be_chosen(tmp_path):
    chosen = manifest_of([(1, 0), (0, 1)], tmp_path).with_class_names(["b"])
    assert (chosen.classes, chosen.labels.tolist()) == (("b",), [[0], [1]])
    assert chosen.notes == ("Classes that labels.names leaves out: a.",)


def test_own_splits_but_train_may_lack_a_rare_class_and_it_is_told(tmp_path):
    rows = [(1, 1), (0, 1), (1, 0), (0, 0), (0, 1), (0, 0)]
    manifest = manifest_of(rows, tmp_path, split=["train", "train", "train", "train", "val", "val"])
    done = assign_splits(manifest, fractions={"train": 0.8, "val": 0.2}, seed=0)
    assert done.notes == ("Classes that no image of val shows: a.",)


@pytest.mark.parametrize("policy", ["ones", "zeros"])
def test_an_unknown_policy_beside_a_table_is_refused(tmp_path, policy):
    (tmp_path / "t.csv").write_text("sample_id,prob_a,y_true_a\n1,0.5,-1\n2,0.5,\n")
    (tmp_path / "t.json").write_text(json.dumps({"classes": ["a"], "uncertain": policy}))
    assert Predictions.load(tmp_path / "t.csv").y_true.tolist() == [[float(policy == "ones")]]
    (tmp_path / "t.json").write_text('{"classes": ["a"], "uncertain": "maybe"}')
    with pytest.raises(DataError, match=r"must count as one of ignore, zeros, ones\. Got 'maybe'"):
        Predictions.load(tmp_path / "t.csv").y_true
