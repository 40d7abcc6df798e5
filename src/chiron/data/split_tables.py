"""Split tables: `train_split.csv`, `val_split.csv`, ..., one a split, from which the same split can be made again."""

from pathlib import Path

import polars as pl

from chiron.core.files import write_text
from chiron.data.copies.pairs import DUPLICATES
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import SPLITS

TABLES = {split: f"{split}_split.csv" for split in SPLITS}


def split_table(manifest: Manifest, split: str) -> pl.DataFrame:
    """The rows of one split, in the manifest's order, under the names that tables of dermoscopic images have.

    Columns: image_id (the sample_id), label (or label_<class>), lesion_id (the unit_id, null where unknown),
    patient_id, group_id, path.

    Raises:
        DataError: there is no such split.
    """
    return manifest.select(split).frame.select(
        pl.col("sample_id").alias("image_id"),
        *manifest.label_columns,
        pl.col("unit_id").alias("lesion_id"),
        "patient_id",
        "group_id",
        "path",
    )


def save_splits(manifest: Manifest, folder: Path) -> None:
    """Writes the manifest to `folder`, with the table of every split that holds images.

    Raises:
        OutputError: the folder cannot be written.
    """
    manifest.save(folder)
    for split, name in TABLES.items():
        table = split_table(manifest, split)
        if table.height:
            write_text(folder / name, table.write_csv())
        else:  # of a manifest that was here before
            (folder / name).unlink(missing_ok=True)


def remove_splits(folder: Path) -> None:
    """Removes what `save_splits` wrote to `folder`, and the folder where nothing else is in it."""
    if not (folder / "manifest.json").is_file():
        return  # a manifest.csv without it was written by a person
    for name in ("manifest.csv", "manifest.json", DUPLICATES, *TABLES.values()):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
