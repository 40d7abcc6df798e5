"""Splits by site and date: whole sites, later images, and nobody on both sides."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from chiron.core.errors import DataError
from chiron.data.manifest import Manifest
from chiron.data.split_by import SplitBy, split_by

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def made(num_images: int = 120, **columns) -> Manifest:
    """Pairs of images of one patient; five sites in turn, ten months in order."""
    frame = pl.DataFrame(
        {
            "sample_id": [f"i{k:03d}" for k in range(num_images)],
            "group_id": [f"g{k // 2:03d}" for k in range(num_images)],
            "path": [f"i{k:03d}.png" for k in range(num_images)],
            "label": [("x", "y")[k // 2 % 2] for k in range(num_images)],
            "hospital": [f"site {k // 4 % 5}" for k in range(num_images)],
            "study_date": [f"2021-{1 + k // 12:02d}-10" for k in range(num_images)],
            **columns,
        }
    )
    return Manifest(frame, ("x", "y"), Path("."), "test", roles={"hospital": "site", "study_date": "date"})


def splits_of(manifest: Manifest, column: str) -> dict[str, set[str]]:
    parts = manifest.frame.filter(pl.col("split").is_not_null())
    return {split: set(rows[column]) for (split,), rows in parts.group_by("split")}


def nobody_crosses(manifest: Manifest) -> bool:
    known = manifest.frame.filter(pl.col("split").is_not_null(), pl.col("status") == "ok")
    return known.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_named_sites_are_the_test_split():
    done = split_by(made(), SplitBy("site", ("site 1", "site 3")), fractions=SHARES, seed=0)
    found = splits_of(done, "hospital")
    assert found["test"] == {"site 1", "site 3"}
    assert found["train"] | found["val"] == {"site 0", "site 2", "site 4"}
    assert "Test sites: site 1 (24 images), site 3 (24 images)." in done.notes
    assert nobody_crosses(done)
    sizes = dict(done.frame["split"].value_counts().iter_rows())
    assert sizes["train"] == 3 * sizes["val"]


@pytest.mark.parametrize("seed", range(5))
def test_sites_by_share_are_whole_and_near_it(seed):
    done = split_by(made(), SplitBy("hospital"), fractions=SHARES, seed=seed)
    found = splits_of(done, "hospital")
    assert not found["test"] & (found["train"] | found["val"])
    assert (done.frame["split"] == "test").sum() == 24  # one of five sites


def test_everything_after_a_day_is_the_test_split():
    done = split_by(made(), SplitBy("date", after=date(2021, 8, 10)), fractions=SHARES, seed=0)
    found = splits_of(done, "study_date")
    assert min(found["test"]) == "2021-09-10"
    assert max(found["train"] | found["val"]) == "2021-08-10"
    assert "Test: everything after 2021-08-10." in done.notes


def test_without_a_day_the_share_decides():
    done = split_by(made(), SplitBy("date"), fractions=SHARES, seed=0)
    assert splits_of(done, "study_date")["test"] == {"2021-09-10", "2021-10-10"}


def test_who_stands_on_both_sides_stays_in_training_and_is_counted():
    manifest = made()
    dates = manifest.frame["study_date"].to_list()
    dates[0], dates[5] = "20211224", "2021/12/24"  # one later image of each of two patients
    manifest = made(study_date=dates)
    done = split_by(manifest, SplitBy("date", after=date(2021, 8, 10)), fractions=SHARES, seed=0)
    out = done.frame.filter(pl.col("status") == "excluded")
    assert out["sample_id"].to_list() == ["i000", "i005"]
    assert set(out["status_reason"]) == {"of a group on both sides of study_date"}
    assert out["split"].null_count() == 2
    assert any("both sides of study_date: 2." in note and "their 2 images" in note for note in done.notes)
    assert nobody_crosses(done)


def test_images_without_a_value_are_left_out_and_counted():
    sites = made().frame["hospital"].to_list()
    done = split_by(made(hospital=[None, *sites[1:]]), SplitBy("site", ("site 1",)), fractions=SHARES, seed=0)
    assert done.frame.filter(pl.col("status") == "excluded")["sample_id"].to_list() == ["i000"]
    assert "Images without a hospital are left out: 1." in done.notes


def test_a_manifest_that_is_split_again_by_training_keeps_what_is_out():
    from chiron.data.split import assign_splits

    dates = made().frame["study_date"].to_list()
    dates[0] = "2021-12-24"
    done = split_by(made(study_date=dates), SplitBy("date", after=date(2021, 8, 10)), fractions=SHARES, seed=0)
    again = assign_splits(done, fractions=SHARES, seed=3)
    assert again.frame.equals(done.frame)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (SplitBy("hospitall"), r"one column of the data. Got 'hospitall'\. Did you mean"),
        (SplitBy("site", ("site 9",)), r"must be one of site 0, .* Got 'site 9'"),
        (SplitBy("label", after=date(2021, 1, 1)), "must read as 2021-06-01, 20210601 or 2021. Got 'x'"),
        (SplitBy("date", after=date(2031, 1, 1)), "Got all on one side of study_date"),
        (SplitBy("date", ("site 1",)), "Sites belong to a column of sites"),
        (SplitBy("site", tuple(f"site {k}" for k in range(5))), "Got all on one side of hospital"),
    ],
)
def test_what_is_refused(by, message):
    with pytest.raises(DataError, match=message):
        split_by(made(), by, fractions=SHARES, seed=0)


def test_a_test_side_without_a_class_is_refused():
    frame = made().frame
    labels = ["x" if site == "site 1" else label for site, label in frame.select("hospital", "label").iter_rows()]
    with pytest.raises(DataError, match=r"at least one group of every class\. Got none of 'y' in test"):
        split_by(made(label=labels), SplitBy("site", ("site 1",)), fractions=SHARES, seed=0)
