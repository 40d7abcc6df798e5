from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiron.core.errors import DataError
from chiron.data.manifest import Manifest
from chiron.data.repair import repair_splits


def manifest_of(rows: list[tuple[str, str, str | None]]) -> Manifest:
    """Rows are (group, label, split); ids count them."""
    frame = pl.DataFrame(
        {
            "sample_id": [f"s{k}" for k in range(len(rows))],
            "path": [f"s{k}.png" for k in range(len(rows))],
            "group_id": [group for group, _, _ in rows],
            "label": [label for _, label, _ in rows],
            "split": pl.Series([split for _, _, split in rows], dtype=pl.String),
        }
    )
    return Manifest(frame=frame, classes=("a", "b"), root=Path(), reader="manifest")


def splits_of(manifest: Manifest) -> dict[str, set[str]]:
    return {
        group: set(splits)
        for group, splits in manifest.frame.group_by("group_id").agg(pl.col("split").drop_nulls()).iter_rows()
    }


def test_nothing_torn_changes_nothing():
    manifest = manifest_of([("g1", "a", "train"), ("g1", "a", "train"), ("g2", "b", "test"), ("g3", "a", None)])
    repair = repair_splits(manifest, seed=0)
    assert repair.manifest is manifest
    assert (repair.num_groups, repair.num_moved) == (0, 0)


def test_prevalence_and_majority_before_and_after():
    """One torn nevus-like group: it goes where the counts come back best, and the shares are counted by hand."""
    rows = [("t", "a", "train"), ("t", "a", "test"), *[(f"n{k}", "a", "train") for k in range(5)]]
    rows += [("x", "b", "train"), ("y", "b", "test"), ("z", "a", "test")]
    repair = repair_splits(manifest_of(rows), seed=0)
    assert (repair.num_groups, repair.num_moved) == (1, 1)
    assert repair.before["test"].num_shared == 1
    assert repair.after["test"].num_shared == repair.after["train"].num_shared == 0
    assert repair.before["test"].prevalence == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    assert repair.before["test"].majority_accuracy == pytest.approx(2 / 3)
    # into train the test set would lose half of its class a; into test train loses a sixth
    assert repair.after["test"].num_images == 4
    assert repair.after["test"].majority_accuracy == pytest.approx(3 / 4)
    assert "1 groups stood in several splits; 1 images moved" in repair.manifest.notes[-1]


def test_images_without_a_split_stay_without():
    manifest = manifest_of([("t", "a", "train"), ("t", "a", "test"), ("t", "b", None), ("u", "b", "train")])
    assert repair_splits(manifest, seed=0).manifest.frame["split"][2] is None


def test_without_splits_there_is_nothing_to_repair():
    with pytest.raises(DataError, match=r"needs splits that the data comes with\. Got 0"):
        repair_splits(manifest_of([("t", "a", None), ("u", "b", None)]), seed=0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12).map("g{}".format),
            st.sampled_from("ab"),
            st.sampled_from(["train", "val", "test", None]),
        ),
        min_size=12,
        max_size=80,
    ),
    st.integers(0, 3),
)
def test_every_group_stands_in_one_split(rows, seed):
    rows = [("p", "a", "train"), ("q", "b", "test"), *rows]
    repair = repair_splits(manifest_of(rows), seed=seed)
    before, after = splits_of(manifest_of(rows)), splits_of(repair.manifest)
    assert all(len(splits) <= 1 for splits in after.values())
    for group, splits in before.items():
        if len(splits) <= 1:
            assert after[group] == splits  # whole groups stay
    assert sum(state.num_images for state in repair.after.values()) == sum(row[2] is not None for row in rows)
    shuffled = manifest_of(rows).frame.sample(fraction=1, shuffle=True, seed=1)
    again = repair_splits(Manifest(frame=shuffled, classes=("a", "b"), root=Path(), reader="manifest"), seed=seed)
    assert splits_of(again.manifest) == after
