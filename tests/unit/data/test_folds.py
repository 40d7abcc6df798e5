"""Folds: every image is held out exactly once, no group is divided, shares hold, and refusals count."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from chiron.core.errors import DataError
from chiron.data.folds import assign_fold
from chiron.data.manifest import Manifest
from chiron.data.split import assign_splits, share_deviation, split_summary

THREE = {"train": 0.7, "val": 0.15, "test": 0.15}


def make(labels, groups=None, splits=None, **columns) -> Manifest:
    count = len(labels)
    table = {
        "sample_id": [f"s{index:04d}" for index in range(count)],
        "path": [f"{index}.png" for index in range(count)],
        "group_id": groups or [f"g{index:04d}" for index in range(count)],
        "label": labels,
        "split": splits or [None] * count,
    } | columns
    frame = pl.DataFrame(table, schema_overrides={"split": pl.String, "label": pl.String})
    return Manifest(frame, tuple(sorted({label for label in labels if label})), Path("."), "class_folders")


def all_folds(manifest: Manifest, folds: int, role: str, **options) -> list[Manifest]:
    options = {"fractions": THREE, "seed": 0} | options
    return [assign_fold(manifest, folds=folds, fold=fold, role=role, **options) for fold in range(folds)]


def by_sample(manifest: Manifest) -> dict[str, str | None]:
    return dict(manifest.frame.select("sample_id", "split").iter_rows())


@st.composite
def grouped_manifests(draw):
    """Classes a, b in at least 12 groups each, of 1 to 5 images, some of which hold both."""
    groups, labels = [], []
    for group in range(draw(st.integers(24, 40))):
        own = "ab"[group % 2]
        for place in range(draw(st.integers(1, 5))):
            groups.append(f"g{group}")
            labels.append(own if place == 0 else draw(st.sampled_from([own, own, own, "a"])))
    return make(labels, groups)


@given(grouped_manifests(), st.integers(2, 5), st.integers(0, 3), st.sampled_from(["test", "val"]))
@settings(max_examples=15, deadline=None)
def test_every_image_is_held_out_exactly_once_and_no_group_is_divided(manifest, folds, seed, role):
    done = all_folds(manifest, folds, role, seed=seed)
    held_out = [name for one in done for name in one.select(role).frame["sample_id"]]
    aside = done[0].select("test").frame["sample_id"].to_list() if role == "val" else []
    assert sorted([*held_out, *aside]) == sorted(manifest.frame["sample_id"])
    for number, one in enumerate(done):
        assert one.fold == number
        assert one.frame.drop("split").equals(manifest.frame.drop("split"))
        assert one.frame["split"].null_count() == 0
        assert one.frame.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
        assert all(set(one.select(split).frame["label"]) == {"a", "b"} for split in THREE)
        if role == "val":
            assert one.select("test").frame["sample_id"].to_list() == aside


@given(grouped_manifests(), st.integers(0, 3), st.randoms(use_true_random=False), st.sampled_from(["test", "val"]))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_has_no_influence(manifest, seed, shuffler, role):
    order = list(range(manifest.frame.height))
    shuffler.shuffle(order)
    mixed = replace(manifest, frame=manifest.frame[order])
    how = {"folds": 3, "fold": 1, "role": role, "fractions": THREE, "seed": seed}
    assert by_sample(assign_fold(manifest, **how)) == by_sample(assign_fold(mixed, **how))


@given(st.lists(st.integers(10, 30), min_size=2, max_size=3), st.integers(2, 5))
@settings(max_examples=10, deadline=None)
def test_single_images_give_folds_as_even_as_those_of_scikit_learn(sizes, folds):
    labels = [f"c{k}" for k, size in enumerate(sizes) for _ in range(size)]
    done = all_folds(make(labels), folds, "val", fractions={"train": 0.8, "val": 0.2})
    theirs = [test for _, test in StratifiedKFold(folds).split(labels, labels)]
    for k, name in enumerate(done[0].classes):
        mine = sorted(split_summary(one)["val"][name]["images"] for one in done)
        assert mine == sorted(sum(labels[row] == f"c{k}" for row in rows) for rows in theirs)


def test_a_skewed_table_keeps_its_shares_in_every_role_of_every_fold():
    """Seven classes, the rarest of 115 images, in lesions of 1 to 4 images."""
    random = np.random.default_rng(0)
    labels, groups = [], []
    for name, images in {"ak": 327, "bc": 514, "bk": 1099, "df": 115, "me": 1113, "nv": 6705, "va": 142}.items():
        placed = 0
        while placed < images:
            size = min(int(random.choice([1, 2, 3, 4], p=[0.72, 0.22, 0.05, 0.01])), images - placed)
            labels += [name] * size
            groups += [f"{name}{placed}"] * size
            placed += size
    for fold in (0, 4):
        one = assign_fold(make(labels, groups), folds=5, fold=fold, role="test", fractions=THREE, seed=0)
        assert share_deviation(one) < 0.001  # 0.1 points
        assert one.select("test").frame.height == pytest.approx(10015 / 5, abs=5)
        assert one.select("val").frame.height == pytest.approx(10015 * 0.8 * 0.15 / 0.85, abs=5)


def test_known_counts_and_notes():
    one = assign_fold(make(["a", "b"] * 50), folds=5, fold=1, role="test", fractions=THREE, seed=7)
    assert {split: cells["a"]["images"] for split, cells in split_summary(one).items()} == {
        "train": 33, "val": 7, "test": 10
    }  # fmt: skip
    assert one.notes[0] == (
        "Fold 1 of 5, numbered from 0, is test: 100 images in whole groups dealt to folds of equal shares with seed 7."
    )
    assert "80 images in 80 groups dealt to train 82.4%, val 17.6%." in one.notes[1]
    other = assign_fold(make(["a", "b"] * 50), folds=5, fold=1, role="test", fractions=THREE, seed=8)
    assert by_sample(one) != by_sample(other)


def test_nothing_is_told_of_a_deal_that_sets_nothing_aside():
    one = assign_fold(make(["a", "b"] * 9), folds=3, fold=0, role="val", fractions={"train": 0.8, "val": 0.2}, seed=0)
    assert len(one.notes) == 1
    assert one.notes[0].startswith("Fold 0 of 3, numbered from 0, is val: 18 images")


def test_val_of_the_data_joins_the_folds_and_its_test_stays():
    splits = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    done = all_folds(make(["a", "b"] * 50, splits=splits), 4, "val")
    for one in done:
        assert one.frame["split"].to_list()[80:] == ["test"] * 20
        assert one.select("val").frame.height == 20
        assert one.notes[0] == "The val split that the data set comes with is dealt to the folds too: 20 images."
        assert len(one.notes) == 2
    assert len({name for one in done for name in one.select("val").frame["sample_id"]}) == 80


def test_a_wanted_cal_is_carved_each_time_or_set_aside():
    fractions = {"train": 0.5, "val": 0.2, "cal": 0.2, "test": 0.1}
    tested = all_folds(make(["a", "b"] * 90), 3, "test", fractions=fractions)
    assert [{split: one.select(split).frame.height for split in fractions} for one in tested] == [
        {"train": 68, "val": 26, "cal": 26, "test": 60}
    ] * 3
    assert len({name for one in tested for name in one.select("test").frame["sample_id"]}) == 180
    held = all_folds(make(["a", "b"] * 90), 3, "val", fractions=fractions)
    assert len({tuple(one.select("cal").frame["sample_id"]) for one in held}) == 1
    assert {one.select("val").frame.height for one in held} == {42}


def test_a_test_split_of_the_data_is_not_tested_twice():
    manifest = make(["a", "b"] * 50, splits=["train"] * 80 + ["test"] * 20)
    with pytest.raises(
        DataError, match=r"Got 20 images of test\. Hold out val instead .*fold_role: val.*existing_splits"
    ):
        all_folds(manifest, 5, "test")
    anew = all_folds(manifest, 5, "test", keep_existing=False)
    assert sum(one.select("test").frame.height for one in anew) == 100


def test_unreadable_images_and_groups_of_a_kept_split_are_in_no_fold():
    labels, status = ["a", "b"] * 30, ["ok"] * 60
    labels[4], status[3] = None, "unreadable"
    groups = [f"g{k}" for k in range(60)]
    groups[7] = groups[59]  # its other image is in the data's external set
    splits = [None] * 58 + ["external"] * 2
    done = all_folds(make(labels, groups, splits, status=status), 3, "test")
    tested = [name for one in done for name in one.select("test").frame["sample_id"]]
    assert sorted(tested) == [f"s{k:04d}" for k in range(58) if k not in (3, 4, 7)]
    for one in done:
        assert [by_sample(one)[name] for name in ("s0003", "s0004", "s0007")] == [None, None, "external"]


def test_too_many_folds_are_refused_with_the_groups_of_every_class():
    groups = [f"a{k}" for k in range(30)] + ["b0", "b0", "b1", "b2"]
    manifest = make(["a"] * 30 + ["b"] * 4, groups)
    with pytest.raises(DataError, match=r"Got 3 of 'b' \(groups: a 30, b 3\)\. Ask for 3 folds or fewer"):
        all_folds(manifest, 4, "val", fractions={"train": 0.8, "val": 0.2})
    with pytest.raises(DataError, match=r"none of 'b' in val \(groups of it: train 1, val 0, test 1\)"):
        assign_fold(make(["a"] * 30 + ["b"] * 2), folds=2, fold=0, role="test", fractions=THREE, seed=0)
    with pytest.raises(DataError, match=r"Got 1 of 'b' \(groups: a 30, b 1\)\. Add images, or join classes"):
        all_folds(make(["a"] * 30 + ["b"], splits=["train"] * 31), 2, "val", fractions={"train": 0.8, "val": 0.2})


def test_a_fold_without_a_class_is_refused_with_the_counts_of_all_folds():
    """Every class is in two of three groups, but a fold of one group holds two classes only."""
    manifest = make(["a", "b", "a", "c", "b", "c"], ["x", "x", "y", "y", "z", "z"])
    with pytest.raises(DataError, match=r"Got none of '.' in fold [01] \(groups of it: fold 0 [02], fold 1 [02]\)"):
        all_folds(manifest, 2, "val", fractions={"train": 0.5, "val": 0.5})


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_there_is_not_is_refused(fold):
    with pytest.raises(DataError, match=rf"numbered from 0\. Got fold {fold} of 5\."):
        assign_fold(make(["a", "b"] * 20), folds=5, fold=fold, role="test", fractions=THREE, seed=0)


def test_fractions_are_checked_as_for_splits():
    for role in ("test", "val"):
        with pytest.raises(DataError, match="sum to 1"):
            all_folds(make(["a", "b"] * 20), 2, role, fractions={"train": 0.5, "val": 0.2, "test": 0.1})


def test_a_manifest_of_a_fold_stays_that_fold(tmp_path):
    one = assign_fold(make(["a", "b"] * 50), folds=5, fold=3, role="test", fractions=THREE, seed=0)
    one.save(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["fold"] == 3
    loaded = Manifest.load(tmp_path)
    assert (loaded.fold, loaded.digest, loaded.select("val").fold) == (3, one.digest, 3)
    assert loaded.digest == replace(loaded, fold=None).digest  # what is learned from is the same
    how = {"folds": 5, "role": "test", "fractions": THREE, "seed": 1}
    assert by_sample(assign_fold(loaded, fold=3, **how)) == by_sample(one)
    assert by_sample(assign_splits(loaded, fractions=THREE, seed=1)) == by_sample(one)
    with pytest.raises(DataError, match=r"Got fold 3, and fold 2 is asked for\. Set data\.fold=3"):
        assign_fold(loaded, fold=2, **how)
    assert assign_fold(loaded, fold=2, keep_existing=False, **how).fold == 2
