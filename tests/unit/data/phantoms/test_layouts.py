"""Layouts as the real data sets have them: names of files and columns, what is known and what is left blank."""

import csv
import io
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from chiron.data.phantoms.derm import CLASSES, draw_phantom_derm
from chiron.data.phantoms.layouts import LAYOUTS, Filed, ham10000, isic2019
from chiron.data.phantoms.phantom_set import PhantomRow, PhantomSet
from chiron.data.phantoms.write import write_phantoms

EQUAL = dict.fromkeys(CLASSES, 1.0)


@pytest.fixture(scope="module")
def phantoms() -> PhantomSet:
    return draw_phantom_derm(num_images=60, img_size=28, seed=5, class_shares=EQUAL)


@pytest.fixture(scope="module")
def many() -> PhantomSet:
    """The rows of a large set without its pictures."""
    about = {"age": 45.0, "sex": "male", "localization": "back"}
    rows = tuple(
        PhantomRow(f"i{k}", f"p{k // 2}", label, label, {}, (), unit_id=f"l{k // 2}", metadata=about)
        for k in range(6000)
        for label in [CLASSES[k // 2 % 7]]
    )
    return PhantomSet("phantom-derm", CLASSES, np.zeros((6000, 1, 1, 3), np.uint8), {}, rows)


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def laid(phantoms: PhantomSet, layout: str, part: str = "") -> tuple[list[Filed], dict[str, bytes]]:
    return LAYOUTS[layout].lay(phantoms, [part] * len(phantoms), 0)


def test_manifest_knows_lesions_patients_and_skin(phantoms):
    filed, tables = laid(phantoms, "manifest")
    rows = table(tables["manifest.csv"])
    ids = ["sample_id", "patient_id", "unit_id", "path", "label", "split"]
    assert list(rows[0]) == [*ids, "age", "sex", "localization", "skin_tone", "fitzpatrick"]
    for row, drawn, file in zip(rows, phantoms.rows, filed, strict=True):
        assert (row["unit_id"], row["patient_id"], row["label"]) == (drawn.unit_id, drawn.patient_id, drawn.label)
        assert row["path"] == file.path
        assert float(row["skin_tone"]) == drawn.metadata["skin_tone"]


def test_ham10000_has_its_names_columns_and_two_folders(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "ham", layout="ham10000")
    rows = table((tmp_path / "ham" / "HAM10000_metadata.csv").read_bytes())
    assert list(rows[0]) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    folders = ("HAM10000_images_part_1", "HAM10000_images_part_2")
    assert {path.name for path in (tmp_path / "ham").iterdir()} == {"HAM10000_metadata.csv", *folders}
    files = [{path.stem for path in (tmp_path / "ham" / folder).glob("*.jpg")} for folder in folders]
    assert files[0] | files[1] == {row["image_id"] for row in rows}
    assert len(files[0]) == len(files[1]) == 30
    lesions = defaultdict(set)
    for row, drawn in zip(rows, phantoms.rows, strict=True):
        assert re.fullmatch(r"ISIC_\d{7}", row["image_id"])
        assert re.fullmatch(r"HAM_\d{7}", row["lesion_id"])
        lesions[row["lesion_id"]].add(drawn.unit_id)
        assert row["dx"] == drawn.label
        assert row["age"] in ("", str(drawn.metadata["age"]))
    assert len(lesions) == len({row.unit_id for row in phantoms.rows})
    assert all(len(units) == 1 for units in lesions.values())
    assert not any(drawn.patient_id in "".join(row.values()) for row, drawn in zip(rows, phantoms.rows, strict=True))


def test_ham10000_labels_come_as_in_the_real_set(many):
    types, of_lesion = defaultdict(Counter), defaultdict(set)
    for row in table(ham10000(many, [], 0)[1]["HAM10000_metadata.csv"]):
        types[row["dx"]][row["dx_type"]] += 1
        of_lesion[row["lesion_id"]].add(row["dx_type"])
    assert all(len(found) == 1 for found in of_lesion.values())
    shares = {dx: {name: count / sum(c.values()) for name, count in c.items()} for dx, c in types.items()}
    assert shares["mel"] == shares["akiec"] == shares["bcc"] == {"histo": 1.0}
    assert shares["nv"] == pytest.approx({"follow_up": 0.55, "consensus": 0.08, "histo": 0.37}, abs=0.06)
    assert shares["bkl"] == pytest.approx({"consensus": 0.24, "confocal": 0.06, "histo": 0.70}, abs=0.06)
    assert {dx for dx, found in types.items() if "follow_up" in found} == {"nv"}


def test_isic2019_has_one_hot_labels_and_some_unknown_lesions(phantoms, many, tmp_path):
    write_phantoms(phantoms, tmp_path / "isic", layout="isic2019")
    rows = table((tmp_path / "isic" / "ISIC_2019_Training_GroundTruth.csv").read_bytes())
    assert list(rows[0]) == ["image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "UNK"]
    for row, drawn in zip(rows, phantoms.rows, strict=True):
        shown = [name for name, value in row.items() if value == "1.0"]
        assert shown == [{"akiec": "AK"}.get(drawn.label, drawn.label.upper())]
        assert {row[name] for name in list(row)[1:]} == {"0.0", "1.0"}
        assert (tmp_path / "isic" / "ISIC_2019_Training_Input" / f"{row['image']}.jpg").is_file()
    known = table((tmp_path / "isic" / "ISIC_2019_Training_Metadata.csv").read_bytes())
    assert list(known[0]) == ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
    sites = {"anterior torso", "posterior torso", "head/neck", "lower extremity", "upper extremity", "palms/soles", ""}
    assert {row["anatom_site_general"] for row in known} <= sites
    assert all(re.fullmatch(r"\d*", row["age_approx"]) for row in known)
    assert {row["sex"] for row in known} <= {"male", "female", ""}
    metadata = table(isic2019(many, [], 0)[1]["ISIC_2019_Training_Metadata.csv"])
    assert np.mean([row["lesion_id"] == "" for row in metadata]) == pytest.approx(0.08, abs=0.02)


def test_plain_table_and_images(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "own", layout="csv")
    rows = table((tmp_path / "own" / "labels.csv").read_bytes())
    assert list(rows[0]) == ["image_id", "label", "patient_id", "lesion_id"]
    for row, drawn, image in zip(rows, phantoms.rows, phantoms.images, strict=True):
        assert list(row.values()) == [drawn.sample_id, drawn.label, drawn.patient_id, drawn.unit_id]
        with Image.open(tmp_path / "own" / "images" / f"{row['image_id']}.png") as written:
            np.testing.assert_array_equal(np.asarray(written), image)


def test_roboflow_copies_share_a_name_in_train_alone(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "rf", layout="roboflow")
    with (tmp_path / "rf-truth" / "truth.csv").open(newline="") as stream:
        truth = {row["path"]: row for row in csv.DictReader(stream)}
    name = re.compile(r"(train|valid|test)/(\w+)/(.+)_jpg\.rf\.([0-9a-f]{32})\.jpg")
    copies, codes, index = defaultdict(list), set(), {row.sample_id: k for k, row in enumerate(phantoms.rows)}
    files = [str(path.relative_to(tmp_path / "rf")) for path in (tmp_path / "rf").rglob("*.jpg")]
    assert set(files) == set(truth)
    for path in files:
        folder, label, source, code = name.fullmatch(path).groups()
        assert truth[path]["label"] == label
        copies[source].append(folder)
        codes.add(code)
        with Image.open(tmp_path / "rf" / path) as image:
            pixels = np.asarray(image).astype(float)
        before = phantoms.images[index[source]].astype(float)
        before = before[:, ::-1] if truth[path]["flipped"] == "1" else before
        assert np.abs(pixels - np.clip(before * float(truth[path]["brightness"]), 0, 255)).mean() < 8
    assert len(codes) == len(files)
    assert set(copies) == set(index)
    for folders in copies.values():
        assert len(set(folders)) == 1
        assert len(folders) in ((2, 3) if folders[0] == "train" else (1,))
    assert {len(folders) for folders in copies.values()} == {1, 2, 3}
    assert {path.name for path in (tmp_path / "rf").glob("*.txt")} == {"README.roboflow.txt", "README.dataset.txt"}


def test_medmnist_holds_color_images(phantoms, tmp_path):
    path = write_phantoms(phantoms, tmp_path / "m", layout="medmnist")
    assert path.name == "phantomderm.npz"
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["train_images"].shape[1:] == (28, 28, 3)
        assert sum(len(arrays[f"{split}_labels"]) for split in ("train", "val", "test")) == len(phantoms)


@pytest.mark.parametrize("layout", ["ham10000", "isic2019", "class_folders"])
def test_no_file_carries_metadata(phantoms, tmp_path, layout):
    write_phantoms(phantoms, tmp_path / "x", layout=layout)
    for path in [*(tmp_path / "x").rglob("*.jpg"), *(tmp_path / "x").rglob("*.png")]:
        with Image.open(path) as image:
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "comment"}
            assert not any(image.info.get("comment", b""))
