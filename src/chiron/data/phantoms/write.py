"""Phantoms as files, in the layouts that real data sets have, with their truth in a tree of its own.

The data folder holds exactly what the real data set would hold. Masks and tables lie beside it in `<folder>-truth`, so
that no reader takes them for images or for columns to learn from.
"""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from chiron.core.errors import DataError
from chiron.core.files import new_folder
from chiron.core.hashing import seed_of
from chiron.core.suggest import did_you_mean
from chiron.data.phantoms.phantom_set import PhantomSet

# Which parts a layout is made of when nothing else is asked for; no parts: all images in one place.
LAYOUTS: Mapping[str, Mapping[str, float]] = {
    "manifest": {},
    "class_folders": {},
    "kermany": {"train": 0.8, "test": 0.2},
    "medmnist": {"train": 0.7, "val": 0.1, "test": 0.2},
}


def write_phantoms(
    phantoms: PhantomSet, folder: Path, *, layout: str, splits: Mapping[str, float] | None = None, seed: int = 0
) -> Path:
    """Writes the images in a data set's layout and returns the path to read them from (a folder, or the `.npz` file).

    `<folder>-truth` takes `truth.csv` (a row an image), `findings.csv` (a row a finding) and `masks/<name>/*.png`
    (0 or 255). Both folders are replaced if they exist, each in one step.

    Args:
        layout: `manifest` (`images/` and a `manifest.csv` that knows the patients), `class_folders` (class/image.png,
            below the split's folder where there are splits), `kermany` (train|test/NORMAL|PNEUMONIA with its file
            names, JPEG) or `medmnist` (one `.npz`).
        splits: share of the images by split; patients never cross. Empty or None: what `LAYOUTS` says.
        seed: names the assignment of patients to splits.
    Raises:
        DataError: unknown layout, splits that the layout does not have, or a class with too few patients.
        OutputError: the disk is full or the place cannot be written.
    """
    if layout not in LAYOUTS:
        raise DataError(
            f"The layout must be one of {', '.join(LAYOUTS)}. Got {layout!r}. {did_you_mean(layout, list(LAYOUTS))}"
        )
    splits = splits or LAYOUTS[layout]
    allowed = set(LAYOUTS[layout]) or {"train", "val", "test"}
    if (LAYOUTS[layout] and set(splits) != allowed) or not set(splits) <= allowed:
        raise DataError(f"The layout {layout} has the splits {sorted(allowed)}. Got {sorted(splits)}. Name these.")
    parts = assign_splits(phantoms, splits, seed)
    if layout == "medmnist":
        files, paths = _medmnist(phantoms, parts)
    else:
        paths = _PATHS[layout](phantoms, parts)
        files = {path: encode(image, Path(path).suffix) for path, image in zip(paths, phantoms.images, strict=True)}
    if layout == "manifest":
        files["manifest.csv"] = _manifest(phantoms, parts, paths)
    _write_tree(folder.with_name(folder.name + "-truth"), _truth_files(phantoms, parts, paths))
    _write_tree(folder, files)
    return folder / next(iter(files)) if layout == "medmnist" else folder


def assign_splits(phantoms: PhantomSet, splits: Mapping[str, float], seed: int = 0) -> list[str]:
    """The split of every image, `""` without splits; patients stay whole and every split gets every class.

    Raises:
        DataError: a share is not positive, or a class has fewer patients than there are splits.
    """
    if not splits:
        return [""] * len(phantoms)
    if min(splits.values()) <= 0:
        raise DataError(f"Split shares must be positive. Got {dict(splits)}. Leave out a split that shall be empty.")
    whole = sum(splits.values())
    by_class: dict[str, dict[str, int]] = {name: defaultdict(int) for name in phantoms.classes}
    for row in phantoms.rows:
        by_class[row.label][row.patient_id] += 1
    split_of: dict[str, str] = {}
    for label, images_of in by_class.items():
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


def encode(image: UInt8[np.ndarray, "..."], suffix: str) -> bytes:
    """The bytes of a grey or RGB image as 8-bit PNG or JPEG (quality 95), without any metadata."""
    pixels = image if image.ndim == 2 else image[..., ::-1]
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpeg" else []
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def _class_paths(phantoms: PhantomSet, parts: list[str]) -> list[str]:
    return [
        "/".join(filter(None, (part, row.label, f"{row.sample_id}.png")))
        for row, part in zip(phantoms.rows, parts, strict=True)
    ]


def _kermany_paths(phantoms: PhantomSet, parts: list[str]) -> list[str]:
    """Names as in Kermany 2018. As there, the person number starts again for each aetiology."""
    if len(phantoms.classes) != 2:
        raise DataError(
            f"The layout kermany holds two classes. Got {', '.join(phantoms.classes)}. Choose class_folders."
        )
    numbers: dict[str, dict[str, int]] = defaultdict(dict)  # aetiology -> patient -> number
    images: dict[str, int] = defaultdict(int)
    paths = []
    for row, part in zip(phantoms.rows, parts, strict=True):
        if row.label == phantoms.classes[0]:
            number = numbers["normal"].setdefault(row.patient_id, len(numbers["normal"]) + 1)
            images[row.patient_id] += 1
            prefix = "NORMAL2-" if number % 3 == 0 else ""
            paths.append(f"{part}/NORMAL/{prefix}IM-{number:04d}-{images[row.patient_id]:04d}.jpeg")
        else:
            aetiology = ("bacteria", "virus")[seed_of("phantom-aetiology", row.patient_id) % 2]
            number = numbers[aetiology].setdefault(row.patient_id, len(numbers[aetiology]) + 1)
            images[aetiology] += 1
            paths.append(f"{part}/PNEUMONIA/person{number}_{aetiology}_{images[aetiology]}.jpeg")
    return paths


def _manifest_paths(phantoms: PhantomSet, parts: list[str]) -> list[str]:
    return [f"images/{row.sample_id}.png" for row in phantoms.rows]


def _manifest(phantoms: PhantomSet, parts: list[str], paths: list[str]) -> bytes:
    """What may be known before training: whose the image is and what it shows; nothing of how it was drawn."""
    return _csv(
        [
            {"sample_id": row.sample_id, "patient_id": row.patient_id, "path": path, "label": row.label, "split": part}
            for row, part, path in zip(phantoms.rows, parts, paths, strict=True)
        ]
    )


_PATHS = {"manifest": _manifest_paths, "class_folders": _class_paths, "kermany": _kermany_paths}


def _medmnist(phantoms: PhantomSet, parts: list[str]) -> tuple[dict[str, bytes], list[str]]:
    """One `.npz` with `<split>_images` (n, size, size) and `<split>_labels` (n, 1); and each image's place in it."""
    name = f"{phantoms.name.replace('-', '')}.npz"
    split_of, arrays, place = np.array(parts), {}, [""] * len(parts)
    for split in ("train", "val", "test"):
        chosen = np.flatnonzero(split_of == split)
        arrays[f"{split}_images"] = phantoms.images[chosen]
        arrays[f"{split}_labels"] = phantoms.targets[chosen, None].astype(np.uint8)
        for position, index in enumerate(chosen):
            place[index] = f"{name}#{split}/{position}"
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return {name: stream.getvalue()}, place


def _truth_files(phantoms: PhantomSet, parts: list[str], paths: list[str]) -> dict[str, bytes]:
    rows: list[dict[str, object]] = []
    findings: list[dict[str, object]] = []
    for row, part, path in zip(phantoms.rows, parts, paths, strict=True):
        ids = {"sample_id": row.sample_id, "path": path, "split": part, "patient_id": row.patient_id}
        rows.append(ids | {"label": row.label} | dict(row.params))
        findings += [{"sample_id": row.sample_id} | vars(finding) for finding in row.findings]
    files = {"truth.csv": _csv(rows)}
    if findings:
        files["findings.csv"] = _csv(findings)
    for name, masks in phantoms.masks.items():
        for row, mask in zip(phantoms.rows, masks, strict=True):
            files[f"masks/{name}/{row.sample_id}.png"] = encode(mask * np.uint8(255), ".png")
    return files


def _csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    with new_folder(folder) as temporary:
        for parent in {os.path.dirname(name) for name in files}:
            (temporary / parent).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (temporary / name).write_bytes(data)
