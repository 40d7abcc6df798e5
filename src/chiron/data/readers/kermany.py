"""Kermany chest X-rays of children: `train|val|test/NORMAL|PNEUMONIA/`, patient numbers in the file names.

Source: Kermany et al. 2018, doi:10.17632/rscbjbr9sj. Names: `person<N>_<bacteria|virus>_<M>`, `IM-<N>-<M>`,
`NORMAL2-IM-<N>-<M>`, either with one more number. The number N restarts for each etiology: where it stands in train and
in test, the etiology is never the same. So a patient is (class, etiology, N); `cautious` takes N alone.
"""

import re
from collections import defaultdict
from pathlib import PurePosixPath

import polars as pl

from chiron.core.errors import DataError
from chiron.data.manifest_columns import SPLIT_FOLDERS, Certainty, require_class_names
from chiron.data.readers._base import (
    NO_MATCH,
    SPECIFIC,
    Placed,
    Reading,
    name_samples,
    only_images,
    place_in_folders,
    require_classes,
)
from chiron.data.readers._found import Found

GROUPS = {"cautious": "images of one person number are one group, whatever the etiology (inferred)"}
CLASSES = ("NORMAL", "PNEUMONIA")
TINY_VAL = 16  # images of the official val: too few to choose anything by
_PERSON = re.compile(r"person(?P<number>\d+)_(?P<etiology>bacteria|virus)_\d+(_\d+)*", re.IGNORECASE)
_NORMAL = re.compile(r"(?P<series>NORMAL\d*-)?IM-(?P<number>\d+)(-\d+)+", re.IGNORECASE)


def match(found: Found) -> int:
    """Specific: class folders named NORMAL and PNEUMONIA, and file names of this data set in most of them."""
    images = [name for name in only_images(found.names)[0] if _class_of(name)]
    known = sum(_patient(PurePosixPath(name).stem)[0] is not None for name in images)
    both = len({_class_of(name) for name in images}) == len(CLASSES)
    return SPECIFIC if both and known > len(images) / 2 else NO_MATCH


def read(found: Found, *, groups: str | None = None) -> Reading:
    """Patients from file names; the official val of at most 16 images is merged into train.

    Args:
        groups: None for (class, etiology, number), or "cautious" for the bare person number.
    Raises:
        DataError: folders are not those of the data set.
    """
    images, notes = only_images(found.names)
    if any(PurePosixPath(name).name == "metadata.csv" for name in found.names):
        notes.append("metadata.csv is not used: ids come from file names.")
    placed, more = place_in_folders(_without_second_copy(images, notes))
    notes += more
    require_class_names(sorted({image.label for image in placed}))
    strangers = sorted({image.label for image in placed} - set(CLASSES))
    if strangers:
        raise DataError(
            f"Class folders must be NORMAL and PNEUMONIA. Got {', '.join(strangers)}. Add --reader class_folders."
        )
    placed = _merge_tiny_val(placed, notes)
    sample_ids, named = name_samples([image.path for image in placed])
    people = [_patient(PurePosixPath(image.path).stem) for image in placed]
    frame = pl.DataFrame(
        {
            "sample_id": sample_ids,
            "patient_id": [key and f"{image.label}-{key}" for image, (key, *_) in zip(placed, people, strict=True)],
            "path": [image.path for image in placed],
            "label": [image.label for image in placed],
            "split": [image.split for image in placed],
            "etiology": [etiology for _, etiology, _ in people],
            "person_number": [number for _, _, number in people],
        },
        schema_overrides=dict.fromkeys(("patient_id", "split", "etiology", "person_number"), pl.String),
    )
    cautious = groups == "cautious"
    certainty: dict[str, Certainty] = {"patient_id": "certain"}
    if cautious:
        certainty["person_number"] = "inferred"
    return Reading(
        frame=frame,
        classes=require_classes(frame["label"].to_list()),
        grouping="Grouped by bare person number, whatever the etiology, from file names (inferred)."
        if cautious
        else "Grouped by patient number within class and etiology, from file names.",
        roles={"etiology": "reference_standard", "person_number": "identifier"},
        id_certainty=certainty,
        notes=(*notes, *named, *_ambiguous_numbers(frame, cautious=cautious)),
    )


def _class_of(name: str) -> str | None:
    """NORMAL or PNEUMONIA when the folder of the file is called so."""
    folder = PurePosixPath(name).parent.name
    return folder if folder in CLASSES else None


def _patient(stem: str) -> tuple[str | None, str | None, str | None]:
    """Key inside the class, etiology and bare person number of a file stem; None for what it does not tell."""
    if found := _PERSON.fullmatch(stem):
        etiology, number = found["etiology"].lower(), int(found["number"])
        return f"{etiology}-{number}", etiology, f"person{number}"
    if found := _NORMAL.fullmatch(stem):
        return f"{(found['series'] or '').upper()}IM-{int(found['number'])}", "normal", None
    return None, None, None


def _without_second_copy(images: list[str], notes: list[str]) -> list[str]:
    """Leaves out a folder that repeats the whole tree, as the widely used download has it."""
    tops = {name.partition("/")[0] for name in images}
    if not any(top.lower() in SPLIT_FOLDERS for top in tops):
        return images
    first = {name for name in images if name.partition("/")[0].lower() in SPLIT_FOLDERS}
    copies = {name for name in images if name not in first and name.partition("/")[2] in first}
    if copies:
        notes.append(f"A second copy of the data inside the data set is left out: {len(copies):,} images.")
    return [name for name in images if name not in copies]


def _merge_tiny_val(placed: list[Placed], notes: list[str]) -> list[Placed]:
    tiny = [image for image in placed if image.split == "val"]
    if not 0 < len(tiny) <= TINY_VAL or not any(image.split == "train" for image in placed):
        return placed
    notes.append(f"The official val ({len(tiny)} images) is merged into train, from which a larger val is made.")
    return [Placed(image.path, "train", image.label) if image.split == "val" else image for image in placed]


def _ambiguous_numbers(frame: pl.DataFrame, *, cautious: bool) -> list[str]:
    """Says how many person numbers stand for both etiologies, and how many stand in train and in test."""
    etiologies: dict[str, set[str]] = defaultdict(set)
    sides: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for number, etiology, split in frame.select("person_number", "etiology", "split").iter_rows():
        if number is not None:
            etiologies[number].add(etiology)
            sides[number][split or ""].add(etiology)
    both = sum(len(found) > 1 for found in etiologies.values())
    crossing = [where for where in sides.values() if where["train"] and where["test"]]
    same = sum(bool(where["train"] & where["test"]) for where in crossing)
    if not both:
        return []
    note = f"{both:,} of {len(etiologies):,} person numbers are ambiguous: they stand for bacteria and for virus"
    if crossing:
        note += f"; {len(crossing):,} stand in train and in test, {same:,} of them with the same etiology"
    return [note + (". They are taken as one person." if cautious else ". They are taken as different persons.")]
