"""What is known of the real data sets is found, and nothing is invented."""

import numpy as np
import polars as pl
import pytest

from chiron.audit.leaks import find_leaks, require_no_leaks
from chiron.core.errors import LeakError
from chiron.data.groups import connected_groups
from chiron.data.identity import label_conflicts
from chiron.data.reading import read_dataset
from chiron.data.repair import repair_splits
from chiron.data.split import assign_splits, share_deviation, split_summary
from chiron.spec.layout import Layout

pytestmark = pytest.mark.realdata
THREE = {"train": 0.7, "val": 0.15, "test": 0.15}


@pytest.fixture(scope="module")
def pneumonia(real_data):
    return read_dataset(real_data / "medmnist" / "pneumoniamnist.npz")


def repeated(frame: pl.DataFrame, column: str) -> list[int]:
    sizes = frame[column].drop_nulls().value_counts()["count"]
    return sorted(sizes.filter(sizes > 1).to_list())


def kermany_counts(kermany):
    assert kermany.reader == "kermany"
    counts = kermany.frame.group_by("split", "label").len().rows()
    assert set(counts) == {
        ("train", "NORMAL", 1206), ("train", "PNEUMONIA", 3377), ("test", "NORMAL", 234), ("test", "PNEUMONIA", 363),
    }  # fmt: skip
    assert set(kermany.frame["status"]) == {"ok"}


def kermany_groups(kermany):
    sizes = kermany.frame.group_by("patient_id").len()["len"]
    assert (len(sizes), int((sizes > 1).sum()), sizes.max()) == (3693, 620, 30)
    crossing = kermany.frame.group_by("patient_id").agg(pl.col("split").n_unique())["split"]
    assert crossing.max() == 1
    expected = connected_groups(
        kermany.frame["sample_id"].to_list(),
        [kermany.frame["patient_id"].to_list(), kermany.frame["pixels_sha256"].to_list()],
        kermany.copy_links,
    )
    assert kermany.frame["group_id"].to_list() == expected


def kermany_identical_pixels(kermany):
    assert repeated(kermany.frame, "pixels_sha256") == [2] * 26 + [3] * 2
    both = kermany.frame.group_by("pixels_sha256").agg(pl.col("split", "label").n_unique())
    assert (both["split"].max(), both["label"].max()) == (1, 1)
    assert label_conflicts(kermany.frame) == []


def kermany_official_split_has_no_leak(kermany):
    report = require_no_leaks(kermany)
    assert report.leaks == ()
    assert {pair.kind for pair in report.suspects} <= {"possible copy"}


def kermany_copies_never_join_the_classes(kermany):
    label = dict(kermany.frame.select("sample_id", "label").iter_rows())
    confirmed = [pair for pair in kermany.copies if pair.confirmed]
    assert confirmed
    assert all(label[one] == label[other] for one, other in (pair.sample_ids for pair in confirmed))


def test_kermany_cautious_tells_159_suspects(real_data, monkeypatch):
    monkeypatch.setattr("chiron.data.reading.search_copies", lambda *_: ())  # the other grouping has looked for them
    manifest = read_dataset(real_data / "kermany_224.zip", Layout(groups="cautious"))
    report = require_no_leaks(manifest)
    assert report.leaks == ()
    assert sum(pair.kind == "same person_number" for pair in report.suspects) == 159
    assert {pair.kind for pair in report.suspects} == {"same person_number"}
    assert any("864 of 1,500 person numbers are ambiguous" in note for note in manifest.notes)
    assert any("159 stand in train and in test, 0 of them with the same etiology" in note for note in manifest.notes)


def kermany_val_is_carved_from_train(kermany):
    done = assign_splits(kermany, fractions=THREE, seed=0)
    summary = split_summary(done)
    assert summary["test"]["NORMAL"]["images"] == 234
    assert share_deviation(done, ["train", "val"]) < 0.001
    assert done.select("val").frame.height == pytest.approx(4583 * 0.15 / 0.85, rel=0.005)
    require_no_leaks(done)


def test_kermany(real_data, subtests):
    """One reading, which takes a minute, for all that is known of these images."""
    kermany = read_dataset(real_data / "kermany_224.zip")
    checks = (
        kermany_counts,
        kermany_groups,
        kermany_identical_pixels,
        kermany_official_split_has_no_leak,
        kermany_copies_never_join_the_classes,
        kermany_val_is_carved_from_train,
    )
    for check in checks:
        with subtests.test(check.__name__):
            check(kermany)


def test_pneumoniamnist_identical_images(pneumonia):
    assert pneumonia.frame.height == 4708 + 524 + 624
    within = {
        split: len(repeated(pneumonia.select(split).frame, "pixels_sha256")) for split in ("train", "val", "test")
    }
    assert within == {"train": 18, "val": 0, "test": 3}
    report = find_leaks(pneumonia)
    assert len(report.leaks) == 8
    assert report.counts() == {"same bytes": {"pairs": 8, "between": {"train and val": [10, 8]}}}
    with pytest.raises(LeakError, match=r"Got 8 that do .same bytes: 10 in train, 8 in val"):
        require_no_leaks(pneumonia)
    assert len(require_no_leaks(pneumonia, report.names).accepted) == 8


def test_pneumoniamnist_splits_stay_and_can_be_made_anew(pneumonia):
    assert assign_splits(pneumonia, fractions=THREE, seed=0).frame.equals(pneumonia.frame)
    anew = assign_splits(pneumonia, fractions=THREE, seed=0, keep_existing=False)
    assert require_no_leaks(anew).leaks == ()
    assert share_deviation(anew) < 0.01


def test_pneumoniamnist_labels_are_those_of_the_file(pneumonia, real_data):
    with np.load(real_data / "medmnist" / "pneumoniamnist.npz") as arrays:
        expected = np.concatenate([arrays[f"{split}_labels"][:, 0] for split in ("train", "val", "test")])
    np.testing.assert_array_equal(pneumonia.labels, expected)
    assert pneumonia.classes == ("normal", "pneumonia")


def test_ham10000_small_images_are_grouped_by_lesion(real_data):
    manifest = read_dataset(real_data / "medmnist_like" / "ham10000_28.npz")
    assert (manifest.frame.height, manifest.frame["group_id"].n_unique()) == (9015, 6734)
    assert require_no_leaks(manifest).leaks == ()
    done = assign_splits(manifest, fractions=THREE, seed=0, keep_existing=False)
    assert share_deviation(done) < 0.01
    require_no_leaks(done)


def test_kermany_subset_is_recognized(real_data):
    manifest = read_dataset(real_data / "kermany_subset")
    assert (manifest.reader, manifest.frame.height) == ("kermany", 1225)
    assert manifest.frame.group_by("label").len().sort("label").rows() == [("NORMAL", 293), ("PNEUMONIA", 932)]


def test_isic2019_tables(real_data):
    """Ground-truth table joined with metadata, no image at hand: one-hot labels, blank lesions their own groups."""
    manifest = read_dataset(real_data / "isic2019", Layout(table_only=True))
    frame = manifest.frame
    assert manifest.reader == "table"
    assert manifest.classes == ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
    assert frame.height == 25_331
    counts = dict(frame["label"].value_counts().iter_rows())
    assert [counts[name] for name in manifest.classes] == [4522, 12875, 3323, 867, 2624, 239, 253, 628]
    assert frame["unit_id"].drop_nulls().n_unique() == 11_847
    assert frame["unit_id"].null_count() == 2_084
    assert frame["group_id"].n_unique() == 11_847 + 2_084
    assert "Lesions: 11,847; 2,084 images without one." in manifest.notes
    assert manifest.roles == {"age_approx": "predictor", "anatom_site_general": "predictor", "sex": "predictor"}


def test_ham10000_table_and_split(real_data):
    """The full table: counts, both shares of melanoma, a split by lesion with every class in every role."""
    manifest = read_dataset(real_data / "ham10000", Layout(table_only=True))
    assert (manifest.frame.height, manifest.frame["unit_id"].n_unique()) == (10_015, 7_470)
    assert manifest.roles["dx_type"] == "reference_standard"
    whole = split_summary(manifest)["unassigned"]["mel"]
    assert (round(whole["share"], 3), round(whole["group_share"], 3)) == (0.111, 0.082)
    done = assign_splits(manifest, fractions=THREE, seed=0)
    assert done.frame.group_by("unit_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert all(cell["groups"] > 0 for classes in split_summary(done).values() for cell in classes.values())
    assert share_deviation(done) < 0.01


def test_ham10000_divided_by_image_is_refused_with_the_count_of_shared_lesions(real_data):
    manifest = read_dataset(real_data / "ham10000", Layout(table_only=True))
    random = np.random.default_rng(0)
    roles = random.choice(["train", "val", "test"], size=manifest.frame.height, p=[0.7, 0.1, 0.2])
    divided = manifest.with_splits(dict(zip(manifest.frame["sample_id"], roles.tolist(), strict=True)))
    roles_of: dict[str, set[str]] = {}
    for lesion, role in zip(divided.frame["unit_id"], roles, strict=True):
        roles_of.setdefault(lesion, set()).add(role)
    shared = sum(len(found) > 1 for found in roles_of.values())
    assert shared > 900
    with pytest.raises(LeakError, match=f"Got {shared:,} that do"):
        require_no_leaks(divided)
    repaired = repair_splits(divided, seed=0)
    assert repaired.num_groups == shared
    assert find_leaks(repaired.manifest).leaks == ()
    for role, before in repaired.before.items():
        after = repaired.after[role]
        assert after.num_shared == 0
        assert after.num_images == pytest.approx(before.num_images, rel=0.01)
        for name, share in before.prevalence.items():
            assert after.prevalence[name] == pytest.approx(share, abs=0.005)


def test_ham10000_images_in_a_zip(real_data, monkeypatch):
    """Copies with other pixels are planted and looked for in `test_copies.py`."""
    monkeypatch.setattr("chiron.data.reading.search_copies", lambda *_: ())
    manifest = read_dataset(real_data / "ham10000_200x150.zip")
    assert (manifest.reader, manifest.frame.height) == ("ham10000", 9_015)
    assert manifest.frame["unit_id"].n_unique() == 6_734
    assert set(manifest.frame["status"]) == {"ok"}
    assert "Sets of images with identical pixels, which join groups: 2 (4 images)." in manifest.notes
