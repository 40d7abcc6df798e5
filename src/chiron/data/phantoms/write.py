"""Phantoms as files, in the layouts that real data sets have, with their truth in a tree of its own.

The data folder holds exactly what the real data set would hold. Masks and tables lie beside it in `<folder>-truth`, so
that no reader takes them for images or for columns to learn from.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chiron.core.errors import DataError
from chiron.core.files import new_folder
from chiron.core.hashing import seed_of
from chiron.core.suggest import did_you_mean
from chiron.data.phantoms.encoding import encode, pad_all
from chiron.data.phantoms.layouts import LAYOUTS, Filed, Layout, write_csv
from chiron.data.phantoms.phantom_set import PhantomSet


def write_phantoms(
    phantoms: PhantomSet, folder: Path, *, layout: str, splits: Mapping[str, float] | None = None, seed: int = 0
) -> Path:
    """Writes the images in a data set's layout and returns the path to read them from (a folder, or the `.npz` file).

    `<folder>-truth` takes `truth.csv` (a row a file), `findings.csv` (a row a finding) and `masks/<name>/*.png`
    (0 or 255, of the images as drawn). Both folders are replaced if they exist, each in one step. The size of an image
    file is drawn by its name, so that it says nothing of the picture.

    Args:
        layout: `manifest` (`images/` and a `manifest.csv` that knows the patients), `class_folders` (class/image.png,
            below the split's folder where there are splits), `csv` (`images/` and a plain `labels.csv`), `medmnist`
            (one `.npz`), `roboflow` (a folder export with changed copies in train), of chests `dicom`
            (class/image.dcm), `kermany` (train|test/NORMAL|PNEUMONIA) and, with several findings, `chexpert` and `nih`,
            of skin `ham10000` and `isic2019`.
        splits: share of the images by split; patients never cross. Empty or None: what the layout comes with.
        seed: names the assignment of patients to splits and the sizes of files.
    Raises:
        DataError: unknown layout, one that cannot hold these phantoms, splits that the layout does not have, or a class
            with too few patients.
        OutputError: the disk is full or the place cannot be written.
    """
    form = require_layout(layout, phantoms.name)
    parts = assign_splits(phantoms, _splits_of(layout, splits), seed)
    filed, tables = form.lay(phantoms, parts, seed)
    files = dict(tables)
    if not form.holds_images:
        files |= pad_all({image.path: encode(image.picture, Path(image.path).suffix) for image in filed}, "size", seed)
    _write_tree(folder.with_name(folder.name + "-truth"), _truth_files(phantoms, parts, filed))
    _write_tree(folder, files)
    return folder / next(iter(tables)) if layout == "medmnist" else folder


def require_layout(name: str, kind: str) -> Layout:
    """The layout of that name, which can hold phantoms of that kind.

    Raises:
        DataError: there is none, or the real data set could not hold such images.
    """
    if name not in LAYOUTS:
        raise DataError(
            f"The layout must be one of {', '.join(LAYOUTS)}. Got {name!r}. {did_you_mean(name, LAYOUTS)}".rstrip()
        )
    layout = LAYOUTS[name]
    if kind not in layout.kinds:
        raise DataError(f"The layout {name} holds {' or '.join(layout.kinds)}. Got {kind}. Choose another layout.")
    return layout


def _splits_of(layout: str, asked: Mapping[str, float] | None) -> Mapping[str, float]:
    """The splits that were asked for, or those that the layout comes with."""
    own = LAYOUTS[layout].splits
    allowed = {"train", "val", "test"} if LAYOUTS[layout].takes_splits else set(own)
    if asked and (not set(asked) <= allowed or (own and set(asked) != allowed)):
        names = f"the splits {sorted(allowed)}" if allowed else "no splits"
        raise DataError(f"The layout {layout} has {names}. Got {sorted(asked)}. Name these.")
    return asked or own


def assign_splits(phantoms: PhantomSet, splits: Mapping[str, float], seed: int = 0) -> list[str]:
    """The split of every image, `""` without splits; patients stay whole and every split gets every class.

    A patient with lesions of several classes counts for the rarest of them.

    Raises:
        DataError: a share is not positive, or a class has fewer patients than there are splits.
    """
    if not splits:
        return [""] * len(phantoms)
    if min(splits.values()) <= 0:
        raise DataError(f"Split shares must be positive. Got {dict(splits)}. Leave out a split that shall be empty.")
    whole = sum(splits.values())
    split_of: dict[str, str] = {}
    for label, images_of in _patients_by_class(phantoms).items():
        if len(images_of) < len(splits):
            raise DataError(
                f"Every split must get a patient of class {label}. Got {len(images_of)} patients for {len(splits)} "
                "splits. Draw more images or ask for fewer splits."
            )
        total, filled = sum(images_of.values()), dict.fromkeys(splits, 0)
        for patient in sorted(images_of, key=lambda patient: seed_of("phantom-split", seed, patient)):
            # Empty splits first, then the one that lacks most images: shares end within one patient of the wish.
            lack = {name: total * share / whole - filled[name] for name, share in splits.items()}
            name = max(splits, key=lambda name: (filled[name] == 0, lack[name]))
            split_of[patient] = name
            filled[name] += images_of[patient]
    return [split_of[row.patient_id] for row in phantoms.rows]


def _patients_by_class(phantoms: PhantomSet) -> dict[str, dict[str, int]]:
    """Class -> patient -> number of images, each patient at the rarest class that it has."""
    frequency = Counter(name for row in phantoms.rows for name in row.shown)
    classes_of: dict[str, set[str]] = defaultdict(set)
    for row in phantoms.rows:
        classes_of[row.patient_id].update(row.shown)
    num_images = Counter(row.patient_id for row in phantoms.rows)
    by_class: dict[str, dict[str, int]] = {name: {} for name in phantoms.classes if frequency[name]}
    for patient, labels in classes_of.items():
        if not labels:  # none of several classes
            by_class.setdefault("", {})[patient] = num_images[patient]
            continue
        rarest = min(labels, key=lambda name: (frequency[name], phantoms.classes.index(name)))
        by_class[rarest][patient] = num_images[patient]
    return by_class


def _truth_files(phantoms: PhantomSet, parts: Sequence[str], filed: Sequence[Filed]) -> dict[str, bytes]:
    rows: list[dict[str, object]] = []
    findings: list[dict[str, object]] = []
    for image in filed:
        row = phantoms.rows[image.index]
        ids = {"sample_id": row.sample_id, "path": image.path, "split": parts[image.index]}
        ids |= {"patient_id": row.patient_id} | ({"unit_id": row.unit_id} if row.unit_id else {})
        wrong = int(row.label != row.true_label)
        labels = {"label": row.label, "true_label": row.true_label, "label_is_wrong": wrong}
        labels |= {f"label_{name}": value for name, value in row.labels.items()}
        rows.append(ids | labels | dict(row.planted) | dict(row.metadata) | dict(row.params) | dict(image.changes))
    for row in phantoms.rows:
        findings += [{"sample_id": row.sample_id} | vars(finding) for finding in row.findings]
    files = {"truth.csv": write_csv(rows)}
    if findings:
        files["findings.csv"] = write_csv(findings)
    for name, masks in phantoms.masks.items():
        for row, mask in zip(phantoms.rows, masks, strict=True):
            files[f"masks/{name}/{row.sample_id}.png"] = encode(mask * np.uint8(255), ".png")
    return files


def _write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    with new_folder(folder) as temporary:
        for parent in {os.path.dirname(name) for name in files}:
            (temporary / parent).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (temporary / name).write_bytes(data)
