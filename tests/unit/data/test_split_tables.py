"""Split tables: exact columns, the manifest's order, and enough to make the same split again."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from chiron.data.manifest import Manifest
from chiron.data.split import assign_splits
from chiron.data.split_tables import TABLES, remove_splits, save_splits

THREE = {"train": 0.7, "val": 0.15, "test": 0.15}


def lesions() -> Manifest:
    """60 images in the order of a folder, which is not that of their names; pairs share a lesion, some are unknown."""
    frame = pl.DataFrame(
        {
            "sample_id": [f"ISIC_{(7 * k) % 60:04d}" for k in range(60)],
            "unit_id": [f"L{k // 2}" if k % 10 else None for k in range(60)],
            "patient_id": ["p, 1" if k < 2 else None for k in range(60)],
            "group_id": [f"g{k // 2}" for k in range(60)],
            "path": [f"images/{k}.jpg" for k in range(60)],
            "label": ["mel" if k % 4 < 2 else "nv" for k in range(60)],
        }
    )
    return Manifest(frame, ("mel", "nv"), Path("."), "manifest")


def test_columns_and_values_are_exact(tmp_path):
    manifest = lesions().with_splits({"ISIC_0000": "test", "ISIC_0007": "test", "ISIC_0014": "val"})
    save_splits(manifest, tmp_path)
    assert (tmp_path / "test_split.csv").read_text() == (
        "image_id,label,lesion_id,patient_id,group_id,path\n"
        'ISIC_0000,mel,,"p, 1",g0,images/0.jpg\n'
        'ISIC_0007,mel,L0,"p, 1",g0,images/1.jpg\n'
    )
    assert (tmp_path / "val_split.csv").read_text().splitlines()[1:] == ["ISIC_0014,nv,L1,,g1,images/2.jpg"]
    assert not (tmp_path / "train_split.csv").exists()


def test_the_same_split_can_be_made_from_the_tables(tmp_path):
    manifest = assign_splits(lesions(), fractions={"train": 0.6, "val": 0.2, "test": 0.2}, seed=3)
    save_splits(manifest, tmp_path)
    tables = {split: pl.read_csv(tmp_path / name) for split, name in TABLES.items() if (tmp_path / name).exists()}
    assert set(tables) == set(THREE)
    order = manifest.frame["sample_id"].to_list()
    for table in tables.values():
        assert table["image_id"].to_list() == sorted(table["image_id"], key=order.index)
    frame = pl.concat([table.with_columns(split=pl.lit(split)) for split, table in tables.items()])
    again = replace(manifest, frame=frame.rename({"image_id": "sample_id", "lesion_id": "unit_id"}), notes=())
    assert again.digest == manifest.digest
    assert assign_splits(again, fractions=THREE, seed=9).digest == manifest.digest


def test_several_labels_have_a_column_each(tmp_path):
    frame = lesions().frame.drop("label").with_columns(label_b=pl.lit(1), label_a=pl.lit(None, pl.Int8))
    several = Manifest(frame, ("b", "a"), Path("."), "manifest").with_splits({"ISIC_0000": "cal"})
    save_splits(several, tmp_path)
    header, row = (tmp_path / "cal_split.csv").read_text().splitlines()
    assert header == "image_id,label_b,label_a,lesion_id,patient_id,group_id,path"
    assert row == 'ISIC_0000,1,,,"p, 1",g0,images/0.jpg'


def test_tables_of_an_older_split_do_not_stay(tmp_path):
    save_splits(lesions().with_splits({"ISIC_0000": "cal"}), tmp_path)
    save_splits(lesions().with_splits({"ISIC_0000": "test"}), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.csv", "manifest.json", "test_split.csv"]


def test_only_what_was_written_is_removed(tmp_path):
    made, written_by_hand = tmp_path / "made", tmp_path / "hand"
    save_splits(lesions().with_splits({"ISIC_0000": "cal"}), made)
    (made / "notes.txt").touch()
    remove_splits(made)
    assert [path.name for path in made.iterdir()] == ["notes.txt"]
    written_by_hand.mkdir()
    (written_by_hand / "manifest.csv").touch()
    remove_splits(written_by_hand)
    assert (written_by_hand / "manifest.csv").exists()
    save_splits(lesions(), tmp_path / "empty")
    remove_splits(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
