"""The layouts of real data sets, one function each: which file every phantom becomes, and the tables beside them."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from chiron.core.hashing import canonical_json, seed_of
from chiron.data.phantoms.canvas import generator_of
from chiron.data.phantoms.dicom import dicom_file
from chiron.data.phantoms.phantom_set import PhantomRow, PhantomSet

_ISIC_NAMES = {"mel": "MEL", "nv": "NV", "bcc": "BCC", "akiec": "AK", "bkl": "BKL", "df": "DF", "vasc": "VASC"}
_ISIC_SITES = {
    "abdomen": "anterior torso", "chest": "anterior torso", "trunk": "anterior torso", "back": "posterior torso",
    "face": "head/neck", "neck": "head/neck", "scalp": "head/neck", "lower extremity": "lower extremity",
    "foot": "palms/soles", "upper extremity": "upper extremity", "hand": "palms/soles", "unknown": "",
}  # fmt: skip
# How HAM10000's labels were come by: upper limits of a uniform draw. Classes that are not here: always by histology.
_DX_TYPES: Mapping[str, Mapping[str, float]] = {
    "nv": {"follow_up": 0.55, "consensus": 0.63},
    "bkl": {"consensus": 0.24, "confocal": 0.30},
    "df": {"consensus": 0.52},
    "vasc": {"consensus": 0.53},
}
_CHEXPERT = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
_CHEXPERT_NAMES = {"cardiomegaly": "Cardiomegaly", "effusion": "Pleural Effusion", "opacity": "Lung Opacity"}
_NIH_NAMES = {"cardiomegaly": "Cardiomegaly", "effusion": "Effusion", "opacity": "Infiltration"}
_BLANK_LESIONS = 0.08  # share of ISIC 2019's images whose lesion is not known


@dataclass(frozen=True)
class Filed:
    """One file of a layout: which phantom it shows, where it lies, and what was done to the picture on the way."""

    index: int
    path: str
    picture: UInt8[np.ndarray, "..."]
    changes: Mapping[str, float | int] = field(default_factory=dict)


Tables: TypeAlias = dict[str, bytes]
Laid: TypeAlias = tuple[list[Filed], Tables]


def manifest(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """`images/` and a `manifest.csv`: what may be known before training, nothing of how an image was drawn."""
    paths = [f"images/{row.sample_id}.png" for row in phantoms.rows]
    has_units = any(row.unit_id for row in phantoms.rows)
    rows: list[dict[str, Any]] = [
        {"sample_id": row.sample_id, "patient_id": row.patient_id}
        | ({"unit_id": row.unit_id} if has_units else {})
        | {"path": path, "label": row.label, "split": part}
        | dict(row.metadata)
        for row, part, path in zip(phantoms.rows, parts, paths, strict=True)
    ]
    return _filed(phantoms, paths), {"manifest.csv": write_csv(rows)}


def class_folders(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """`<class>/image.png`, below the split's folder where there are splits."""
    paths = [
        "/".join(filter(None, (part, row.label, f"{row.sample_id}.png")))
        for row, part in zip(phantoms.rows, parts, strict=True)
    ]
    return _filed(phantoms, paths), {}


def kermany(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """Names as in Kermany 2018. As there, the person number starts again for each etiology."""
    numbers: dict[str, dict[str, int]] = defaultdict(dict)  # etiology -> patient -> number
    images: dict[str, int] = defaultdict(int)
    paths = []
    for row, part in zip(phantoms.rows, parts, strict=True):
        if row.label == phantoms.classes[0]:
            number = numbers["normal"].setdefault(row.patient_id, len(numbers["normal"]) + 1)
            images[row.patient_id] += 1
            prefix = "NORMAL2-" if number % 3 == 0 else ""
            paths.append(f"{part}/NORMAL/{prefix}IM-{number:04d}-{images[row.patient_id]:04d}.jpeg")
        else:
            etiology = ("bacteria", "virus")[seed_of("phantom-aetiology", row.patient_id) % 2]
            number = numbers[etiology].setdefault(row.patient_id, len(numbers[etiology]) + 1)
            images[etiology] += 1
            paths.append(f"{part}/PNEUMONIA/person{number}_{etiology}_{images[etiology]}.jpeg")
    return _filed(phantoms, paths), {}


def ham10000(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """HAM10000: JPEGs in two folders and one table, which knows lesions but no patients."""
    names = [f"ISIC_{24306 + index:07d}" for index in range(len(phantoms))]
    half = -(-len(phantoms) // 2)
    paths = [f"HAM10000_images_part_{1 + index // half}/{name}.jpg" for index, name in enumerate(names)]
    numbers: dict[str, int] = {}
    rows: list[dict[str, object]] = []
    for row, name in zip(phantoms.rows, names, strict=True):
        rows.append(
            {
                "lesion_id": f"HAM_{numbers.setdefault(row.unit_id, len(numbers) + 1):07d}",
                "image_id": name,
                "dx": row.label,
                "dx_type": _dx_type(row),
                "age": row.metadata["age"],
                "sex": row.metadata["sex"],
                "localization": row.metadata["localization"],
            }
        )
    return _filed(phantoms, paths), {"HAM10000_metadata.csv": write_csv(rows)}


def isic2019(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """ISIC 2019: JPEGs, a table with one column a class, and one with what is known of the patient."""
    names = [f"ISIC_{index:07d}" for index in range(len(phantoms))]
    paths = [f"ISIC_2019_Training_Input/{name}.jpg" for name in names]
    numbers: dict[str, int] = {}
    labels: list[dict[str, object]] = []
    known: list[dict[str, object]] = []
    for row, name in zip(phantoms.rows, names, strict=True):
        shown = {column: float(dx == row.label) for dx, column in _ISIC_NAMES.items()}
        labels.append({"image": name, **shown, "UNK": 0.0})
        number = numbers.setdefault(row.unit_id, len(numbers) + 1)
        is_blank = generator_of("phantom-isic-lesion", row.unit_id).uniform() < _BLANK_LESIONS
        age, sex = row.metadata["age"], row.metadata["sex"]
        known.append(
            {
                "image": name,
                "age_approx": age if age == "" else int(age),
                "anatom_site_general": _ISIC_SITES[str(row.metadata["localization"])],
                "lesion_id": "" if is_blank else f"HAM_{number:07d}",
                "sex": "" if sex == "unknown" else sex,
            }
        )
    tables = {
        "ISIC_2019_Training_GroundTruth.csv": write_csv(labels),
        "ISIC_2019_Training_Metadata.csv": write_csv(known),
    }
    return _filed(phantoms, paths), tables


def labels_csv(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """`labels.csv` and `images/`, as people write them by hand; without lesions the column is blank."""
    paths = [f"images/{row.sample_id}.png" for row in phantoms.rows]
    rows = [
        {"image_id": row.sample_id, "label": row.label, "patient_id": row.patient_id, "lesion_id": row.unit_id}
        for row in phantoms.rows
    ]
    return _filed(phantoms, paths), {"labels.csv": write_csv(rows)}


def roboflow(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """A folder export of Roboflow: in train two or three changed copies of every source image, told by name alone."""
    filed = []
    for index, (row, part) in enumerate(zip(phantoms.rows, parts, strict=True)):
        rng = generator_of("phantom-roboflow", seed, row.sample_id)
        folder = "valid" if part == "val" else part
        copies = range(1, 1 + int(rng.integers(2, 4))) if part == "train" else (0,)
        for copy in copies:  # 0: as it is
            flipped = int(copy > 0 and rng.uniform() < 0.5)
            brightness = round(rng.uniform(0.85, 1.15), 3) if copy else 1.0
            picture = phantoms.images[index][:, ::-1] if flipped else phantoms.images[index]
            picture = np.round(np.clip(picture * np.float32(brightness), 0, 255)).astype(np.uint8)
            code = hashlib.sha256(canonical_json([seed, row.sample_id, copy]).encode()).hexdigest()[:32]
            path = f"{folder}/{row.label}/{row.sample_id}_jpg.rf.{code}.jpg"
            filed.append(Filed(index, path, picture, {"copy": copy, "flipped": flipped, "brightness": brightness}))
    about = f"{phantoms.name} - v1\n\nFolder format. Source images: {len(phantoms)}. Files: {len(filed)}.\n"
    changes = (
        "Pre-processing: none.\nAugmentation: two or three versions of each source image in train, each with a "
        "horizontal flip\n(probability 0.5) and a random brightness between -15 and +15 percent.\n"
    )
    dataset = f"{phantoms.name}\n\nSynthetic images; no person is shown.\nClasses: {', '.join(phantoms.classes)}\n"
    return filed, {"README.roboflow.txt": (about + changes).encode(), "README.dataset.txt": dataset.encode()}


def medmnist(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """One `.npz` with `<split>_images` (n, size, size[, 3]) and `<split>_labels` (n, 1); `path` is the place in it."""
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
    return _filed(phantoms, place), {name: stream.getvalue()}


def chexpert(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """CheXpert: patients in folders, `train.csv` with uncertain and blank labels, `valid.csv` with all assessed."""
    numbers: dict[str, int] = {}
    views: dict[str, int] = defaultdict(int)
    paths, tables = [], defaultdict(list)
    for row, part in zip(phantoms.rows, parts, strict=True):
        folder, number = {"train": "train", "val": "valid"}[part], numbers.setdefault(row.patient_id, len(numbers) + 1)
        views[row.patient_id] += 1
        rng = generator_of("phantom-chexpert", seed, row.sample_id)
        paths.append(f"{folder}/patient{number:05d}/study1/view{views[row.patient_id]}_frontal.jpg")
        given = {
            name: _as_mentioned(value, rng) if part == "train" else float(value) for name, value in row.labels.items()
        }
        known: dict[str, object] = {"Path": f"CheXpert-v1.0-small/{paths[-1]}", "Sex": ("Female", "Male")[number % 2]}
        known |= {"Age": round(20 + 70 * float(row.params["age"])), "Frontal/Lateral": "Frontal"}
        named = dict.fromkeys(_CHEXPERT, "") | {_CHEXPERT_NAMES[name]: value for name, value in given.items()}
        named["No Finding"] = "" if any(row.labels.values()) else 1.0
        if part == "val":
            named = {name: 0.0 if value == "" else value for name, value in named.items()}
        tables[folder].append(known | {"AP/PA": row.params["view"]} | named)
    return _filed(phantoms, paths), {f"{name}.csv": write_csv(rows) for name, rows in tables.items()}


def _as_mentioned(value: int, rng: np.random.Generator) -> float | str:
    """A label as a report would mention it: some uncertain, an absent finding often not mentioned at all."""
    drawn = rng.uniform()
    if drawn < 0.08:
        return -1.0
    return "" if not value and drawn < 0.5 else float(value)


def nih(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """ChestX-ray14: one table whose cells name all findings, and a list of the images of each split."""
    numbers: dict[str, int] = {}
    images: dict[str, int] = defaultdict(int)
    rows: list[dict[str, object]] = []
    for row in phantoms.rows:
        number = numbers.setdefault(row.patient_id, len(numbers) + 1)
        known = {
            "Image Index": f"{number:08d}_{images[row.patient_id]:03d}.png",
            "Finding Labels": "|".join(_NIH_NAMES[name] for name in row.shown) or "No Finding",
            "Follow-up #": images[row.patient_id],
            "Patient ID": number,
            "Patient Age": round(20 + 70 * float(row.params["age"])),
            "Patient Gender": "FM"[number % 2],
            "View Position": row.params["view"],
        }
        images[row.patient_id] += 1
        rows.append(known)
    names = [str(row["Image Index"]) for row in rows]
    listed = {
        f"{name}.txt": "".join(f"{image}\n" for image, part in zip(names, parts, strict=True) if part == split).encode()
        for name, split in (("train_val_list", "train"), ("test_list", "test"))
    }
    paths = [f"images_001/images/{name}" for name in names]
    return _filed(phantoms, paths), {"Data_Entry_2017.csv": write_csv(rows), **listed}


def dicom(phantoms: PhantomSet, parts: Sequence[str], seed: int) -> Laid:
    """`<class>/image.dcm`: class folders of DICOM files, which name their patients in their headers."""
    paths = [f"{row.label}/{row.sample_id}.dcm" for row in phantoms.rows]
    drawn = zip(paths, phantoms.rows, phantoms.images, strict=True)
    return _filed(phantoms, paths), {path: dicom_file(row, image, seed=seed) for path, row, image in drawn}


@dataclass(frozen=True)
class Layout:
    """How a layout is made, what it is made of when no splits are asked for, and what it can hold."""

    lay: Callable[[PhantomSet, Sequence[str], int], Laid]
    splits: Mapping[str, float] = field(default_factory=dict)
    kinds: tuple[str, ...] = ("phantom-cxr", "phantom-derm")
    takes_splits: bool = False  # also others than its own
    several_labels: bool = False  # an image can show several classes or none
    holds_images: bool = False  # what stands beside the pictures holds them already


LAYOUTS: Mapping[str, Layout] = {
    "manifest": Layout(manifest, takes_splits=True),
    "class_folders": Layout(class_folders, takes_splits=True),
    "kermany": Layout(kermany, {"train": 0.8, "test": 0.2}, kinds=("phantom-cxr",)),
    "medmnist": Layout(medmnist, {"train": 0.7, "val": 0.1, "test": 0.2}, holds_images=True),
    "dicom": Layout(dicom, kinds=("phantom-cxr",), holds_images=True),
    "ham10000": Layout(ham10000, kinds=("phantom-derm",)),
    "isic2019": Layout(isic2019, kinds=("phantom-derm",)),
    "chexpert": Layout(chexpert, {"train": 0.85, "val": 0.15}, kinds=("phantom-cxr",), several_labels=True),
    "nih": Layout(nih, {"train": 0.8, "test": 0.2}, kinds=("phantom-cxr",), several_labels=True),
    "csv": Layout(labels_csv),
    "roboflow": Layout(roboflow, {"train": 0.7, "val": 0.2, "test": 0.1}),
}


def write_csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    """A table with one header line, as UTF-8."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _filed(phantoms: PhantomSet, paths: Sequence[str]) -> list[Filed]:
    return [Filed(index, path, phantoms.images[index]) for index, path in enumerate(paths)]


def _dx_type(row: PhantomRow) -> str:
    """How the label of a lesion was come by, as often as in HAM10000; melanoma and akiec always by histology."""
    drawn = generator_of("phantom-dx-type", row.unit_id).uniform()
    return next((name for name, upto in _DX_TYPES.get(row.label, {}).items() if drawn < upto), "histo")
