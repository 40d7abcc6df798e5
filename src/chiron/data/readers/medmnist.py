"""MedMNIST: one `.npz` with `<split>_images` and `<split>_labels` for train, val and test, official splits.

Source: Yang et al. 2023, doi:10.1038/s41597-022-01721-8; label names from the data sets' own description. Files of the
same form that also hold `<split>_image_ids`, `<split>_lesion_ids` or `<split>_patient_ids` are grouped by them.
"""

import re

import numpy as np
import polars as pl

from chiron.core.errors import DataError
from chiron.data.readers._base import NO_MATCH, SPECIFIC, Reading, require_classes
from chiron.data.readers._found import Found
from chiron.data.source import ImageSource

GROUPS: dict[str, str] = {}
SPLIT_NAMES = ("train", "val", "test")
_ID_ARRAYS = {"patient_ids": "patient_id", "lesion_ids": "unit_id"}
_ORGANS = [
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
]
CLASS_NAMES: dict[str, list[str]] = {
    "pneumoniamnist": ["normal", "pneumonia"],
    "breastmnist": ["malignant", "normal or benign"],
    # the codes of HAM10000, in MedMNIST's order
    "dermamnist": ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"],
    "octmnist": ["choroidal neovascularization", "diabetic macular edema", "drusen", "normal"],
    "bloodmnist": [
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ],
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}


def match(found: Found) -> int:
    """Specific: an npz that holds images and labels of the same split."""
    keys = set(found.source.keys())
    return SPECIFIC if any({f"{split}_images", f"{split}_labels"} <= keys for split in SPLIT_NAMES) else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """Rows of all splits; sample_id is `train-00017` unless the file brings its own image ids.

    Raises:
        DataError: arrays do not fit each other, or a label has no name.
    """
    source = found.source
    splits = [split for split in SPLIT_NAMES if f"{split}_images" in source.keys()]  # noqa: SIM118
    if not splits:
        raise DataError(
            f"MedMNIST is one .npz file with train_images, train_labels ... Got none of them in {source.root}. "
            "Leave out --reader medmnist."
        )
    tables = [_read_split(source, split) for split in splits]
    frame = pl.concat(tables, how="diagonal")
    labels = np.concatenate([_labels(source, split) for split in splits])
    name = re.sub(r"(_\d+)?$", "", source.root.stem.lower())
    classes, columns = _label_columns(labels, CLASS_NAMES.get(name), source)
    frame = _with_own_names(frame.with_columns(columns))
    known = [column for column in _ID_ARRAYS.values() if column in frame.columns]
    unused = sorted(set(source.keys()) - _used_keys(splits))
    return Reading(
        frame=frame,
        classes=classes,
        grouping=_grouping(known),
        id_certainty=dict.fromkeys(known, "certain"),
        notes=(f"Arrays that are not used: {', '.join(unused)}.",) if unused else (),
    )


def _read_split(source: ImageSource, split: str) -> pl.DataFrame:
    images = source.array(f"{split}_images")
    assert images is not None
    count = len(images)
    columns = {
        "sample_id": [f"{split}-{row:05d}" for row in range(count)],
        "path": [f"{split}#{row}" for row in range(count)],
        "split": [split] * count,
    }
    for key, column in {"image_ids": "image_id", **_ID_ARRAYS}.items():
        ids = source.array(f"{split}_{key}")
        if ids is not None:
            if ids.shape != (count,):
                raise DataError(f"{split}_{key} must have one id an image ({count}). Got shape {ids.shape}.")
            columns[column] = [str(value) for value in ids]
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _labels(source: ImageSource, split: str) -> np.ndarray:
    """(images, 1) class numbers, or (images, classes) of 0 and 1."""
    images, labels = source.array(f"{split}_images"), source.array(f"{split}_labels")
    assert images is not None
    if labels is None or labels.dtype.kind not in "iu" or labels.shape[:1] != images.shape[:1] or labels.ndim > 2:
        got = "none" if labels is None else f"{labels.dtype} of shape {labels.shape}"
        raise DataError(
            f"{split}_labels must be whole numbers, one row an image ({len(images)}). Got {got} in {source.root}."
        )
    return labels.reshape(len(labels), -1).astype(np.int64)


def _label_columns(
    labels: np.ndarray, known: list[str] | None, source: ImageSource
) -> tuple[tuple[str, ...], list[pl.Series]]:
    """Class names in the order of the numbers, and the label column, or one column a class when there are several."""
    several = labels.shape[1] > 1
    num_classes = labels.shape[1] if several else int(labels.max()) + 1
    names = known or [str(number) for number in range(num_classes)]
    if labels.min() < 0 or num_classes > len(names) or (several and (labels.max() > 1 or num_classes != len(names))):
        raise DataError(
            f"Labels must be numbers of known classes ({', '.join(names)}). "
            f"Got {labels.min()} to {labels.max()} in {source.root}. Rename the file if it is another data set."
        )
    if several:
        return tuple(names), [pl.Series(f"label_{name}", labels[:, k], pl.Int8) for k, name in enumerate(names)]
    column = [names[number] for number in labels[:, 0]]
    require_classes(column)
    return tuple(names), [pl.Series("label", column, pl.String)]


def _with_own_names(frame: pl.DataFrame) -> pl.DataFrame:
    """The data set's own image ids as sample_id, where every image has one and no two are equal."""
    if "image_id" not in frame.columns:
        return frame
    ids = frame["image_id"]
    usable = ids.null_count() == 0 and ids.n_unique() == len(ids) and not (ids.str.strip_chars() == "").any()
    return frame.with_columns(ids.alias("sample_id")).drop("image_id") if usable else frame


def _used_keys(splits: list[str]) -> set[str]:
    return {f"{split}_{key}" for split in splits for key in ("images", "labels", "image_ids", *_ID_ARRAYS)}


def _grouping(known: list[str]) -> str:
    if not known:
        return "Every image is its own group; patients unknown, so intervals may still be too narrow."
    words = " and ".join({"patient_id": "patient", "unit_id": "lesion"}[column] for column in known)
    unreached = "" if "patient_id" in known else "; patients unknown, so intervals may still be too narrow"
    return f"Grouped by {words}{unreached}."
