"""Phantom files: the names, formats and splits of the real layouts, with the truth in a tree of its own."""

import csv
import io
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chiron.core.errors import DataError, OutputError
from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.phantoms.encoding import encode
from chiron.data.phantoms.phantom_set import PhantomRow, PhantomSet
from chiron.data.phantoms.planted import Planted
from chiron.data.phantoms.write import assign_splits, write_phantoms

THREE = {"train": 0.7, "val": 0.15, "test": 0.15}


@pytest.fixture(scope="module")
def phantoms() -> PhantomSet:
    return draw_phantom_cxr(num_images=48, img_size=32, seed=5)


def truth_of(folder: Path) -> list[dict[str, str]]:
    with (folder.with_name(folder.name + "-truth") / "truth.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def patients_by_split(rows: list[dict[str, str]]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for row in rows:
        found[row["split"]].add(row["patient_id"])
    return found


def test_flat_class_folders_hold_the_pixels_as_png(phantoms, tmp_path):
    assert write_phantoms(phantoms, tmp_path / "cxr", layout="class_folders") == tmp_path / "cxr"
    files = {str(file.relative_to(tmp_path / "cxr")) for file in (tmp_path / "cxr").rglob("*") if file.is_file()}
    assert files == {f"{row.label}/{row.sample_id}.png" for row in phantoms.rows}
    for row, image in zip(phantoms.rows, phantoms.images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"cxr/{row.label}/{row.sample_id}.png")), image)


def test_split_class_folders_keep_patients_whole(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "cxr", layout="class_folders", splits=THREE)
    rows = truth_of(tmp_path / "cxr")
    for row in rows:
        assert row["path"] == f"{row['split']}/{row['label']}/{row['sample_id']}.png"
        assert (tmp_path / "cxr" / row["path"]).is_file()
    patients = patients_by_split(rows)
    assert set(patients) == set(THREE)
    assert sum(map(len, patients.values())) == len(set(phantoms.patient_ids))


def test_kermany_names_say_class_aetiology_patient_and_image(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "k", layout="kermany")
    person, normal = (
        re.compile(r"person(\d+)_(bacteria|virus)_(\d+)\.jpeg"),
        re.compile(r"(NORMAL2-)?IM-(\d{4})-\d{4}\.jpeg"),
    )
    patient_of_key, key_of_patient, prefixes = {}, {}, set()
    rows = truth_of(tmp_path / "k")
    for row in rows:
        split, folder, name = row["path"].split("/")
        assert split == row["split"]
        assert split in ("train", "test")
        assert folder == {"normal": "NORMAL", "opacity": "PNEUMONIA"}[row["label"]]
        match = (normal if folder == "NORMAL" else person).fullmatch(name)
        key = (folder, match[2] if folder == "NORMAL" else (match[2], match[1]))
        prefixes.add(match[1] if folder == "NORMAL" else match[2])
        assert patient_of_key.setdefault(key, row["patient_id"]) == row["patient_id"]
        assert key_of_patient.setdefault(row["patient_id"], key) == key
    assert prefixes == {None, "NORMAL2-", "bacteria", "virus"}
    assert len({row["path"].rsplit("/")[-1] for row in rows}) == len(rows)
    patients = patients_by_split(rows)
    assert not patients["train"] & patients["test"]
    with Image.open(tmp_path / "k" / rows[0]["path"]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "L", (32, 32))
        difference = np.abs(np.asarray(image).astype(int) - phantoms.images[0])
    assert difference.mean() < 3


def test_medmnist_holds_six_arrays_whose_places_the_truth_names(phantoms, tmp_path):
    path = write_phantoms(phantoms, tmp_path / "m", layout="medmnist", splits=THREE)
    assert path == tmp_path / "m" / "phantomcxr.npz"
    rows = truth_of(tmp_path / "m")
    with np.load(path, allow_pickle=False) as arrays:
        assert sorted(arrays) == sorted(f"{split}_{what}" for split in THREE for what in ("images", "labels"))
        assert sum(len(arrays[f"{split}_images"]) for split in THREE) == len(phantoms)
        for row, image in zip(rows, phantoms.images, strict=True):
            split, position = re.fullmatch(r"phantomcxr\.npz#(\w+)/(\d+)", row["path"]).groups()
            np.testing.assert_array_equal(arrays[f"{split}_images"][int(position)], image)
            label = arrays[f"{split}_labels"][int(position)]
            assert label.shape == (1,)
            assert phantoms.classes[label[0]] == row["label"]
        assert arrays["val_images"].dtype == arrays["val_labels"].dtype == np.uint8


def test_manifest_names_patients_and_nothing_of_how_an_image_was_drawn(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "cxr", layout="manifest", splits=THREE)
    with (tmp_path / "cxr" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert set(rows[0]) == {"sample_id", "patient_id", "path", "label", "split"}
    for row, image, written in zip(phantoms.rows, phantoms.images, rows, strict=True):
        assert (written["sample_id"], written["patient_id"], written["label"]) == (
            row.sample_id,
            row.patient_id,
            row.label,
        )
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "cxr" / written["path"])), image)
    assert sum(map(len, patients_by_split(rows).values())) == len(set(phantoms.patient_ids))


def test_truth_lies_beside_the_data_and_no_input_column_tells_the_label(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "cxr", layout="class_folders")
    truth = tmp_path / "cxr-truth"
    assert {file.name for file in truth.iterdir()} == {"truth.csv", "findings.csv", "masks"}
    for name, masks in phantoms.masks.items():
        for row, mask in zip(phantoms.rows, masks, strict=True):
            with Image.open(truth / f"masks/{name}/{row.sample_id}.png") as written:
                np.testing.assert_array_equal(np.asarray(written), 255 * mask)
    rows = truth_of(tmp_path / "cxr")
    assert all(value != "" for row in rows for name, value in row.items() if name != "split")  # nothing left blank
    labels = {"label", "true_label", "label_is_wrong"}
    drawn = {*phantoms.rows[0].params, *phantoms.rows[0].planted}
    assert set(rows[0]) == {"sample_id", "path", "split", "patient_id"} | labels | drawn
    assert not any(row["label"] in row["sample_id"] for row in rows)
    with (truth / "findings.csv").open(newline="") as stream:
        assert {row["sample_id"] for row in csv.DictReader(stream)} == {
            row.sample_id for row in phantoms.rows if row.label == "opacity"
        }


def test_files_carry_no_metadata_and_are_the_same_bytes_again(phantoms, tmp_path):
    write_phantoms(phantoms, tmp_path / "png", layout="csv")
    png = next((tmp_path / "png" / "images").iterdir()).read_bytes()
    chunks, position = [], 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4])
        chunks.append(png[position + 4 : position + 8])
        position += 12 + length
    assert set(chunks) == {b"IHDR", b"IDAT", b"paDd", b"IEND"}
    assert not Image.open(io.BytesIO(encode(phantoms.images[0], ".jpeg"))).getexif()
    first = write_phantoms(phantoms, tmp_path / "a", layout="medmnist")
    again = write_phantoms(phantoms, tmp_path / "b", layout="medmnist")
    assert first.read_bytes() == again.read_bytes()


def many_patients(num_patients: int) -> PhantomSet:
    rows = tuple(
        PhantomRow(f"p{i}-{k}", f"p{i}", label, label, {}, ())
        for i in range(num_patients)
        for label in [("normal", "opacity")[i % 3 == 0]]
        for k in range(1 + i % 4)
    )
    return PhantomSet("phantom-cxr", ("normal", "opacity"), np.zeros((len(rows), 28, 28), np.uint8), {}, rows)


def test_split_shares_are_met_in_each_class_within_one_patient():
    phantoms = many_patients(200)
    parts = np.array(assign_splits(phantoms, THREE, seed=1))
    for label in (0, 1):
        of_class = parts[phantoms.targets == label]
        for split, share in THREE.items():
            assert abs((of_class == split).sum() - share * len(of_class)) <= 4
    for patient in set(phantoms.patient_ids):
        assert len(set(parts[phantoms.patient_ids == patient])) == 1
    assert list(parts) == assign_splits(phantoms, THREE, seed=1)
    assert list(parts) != assign_splits(phantoms, THREE, seed=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"layout": "kermani"},
            "must be one of manifest, class_folders, .*roboflow. Got 'kermani'. Did you mean 'kermany'",
        ),
        ({"layout": "kermany", "splits": THREE}, r"kermany has the splits \['test', 'train'\]"),
        ({"layout": "csv", "splits": THREE}, r"csv has no splits"),
        ({"layout": "ham10000"}, "ham10000 holds phantom-derm. Got phantom-cxr. Choose another layout"),
        ({"layout": "isic2019"}, "isic2019 holds phantom-derm. Got phantom-cxr. Choose another layout"),
        ({"layout": "class_folders", "splits": {"train": 0.5, "dev": 0.5}}, r"Got \['dev', 'train'\]"),
        ({"layout": "class_folders", "splits": {"train": 1.0, "test": 0.0}}, "must be positive"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_before_anything_is_written(phantoms, tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        write_phantoms(phantoms, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_too_few_patients_for_the_splits_is_an_error():
    with pytest.raises(DataError, match=r"class normal. Got 2 patients for 3 splits"):
        assign_splits(many_patients(3), {"train": 1, "val": 1, "test": 1}, seed=0)


def test_a_place_below_a_file_is_one_clear_error(phantoms, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="must be writable"):
        write_phantoms(phantoms, tmp_path / "file" / "out", layout="class_folders")


def test_a_patient_with_several_classes_stays_whole_and_counts_for_the_rarest():
    labels = [("nv", "mel") if i < 6 else ("nv",) for i in range(60)]
    rows = tuple(PhantomRow(f"p{i}-{x}", f"p{i}", x, x, {}, ()) for i, shown in enumerate(labels) for x in shown)
    mixed = PhantomSet("phantom-derm", ("mel", "nv"), np.zeros((len(rows), 28, 28, 3), np.uint8), {}, rows)
    parts = np.array(assign_splits(mixed, THREE, seed=1))
    assert set(parts[mixed.targets == 0]) == set(THREE)
    assert all(len(set(parts[mixed.patient_ids == patient])) == 1 for patient in set(mixed.patient_ids))


def test_wrong_labels_stand_in_the_data_and_the_truth_tells_them(tmp_path):
    noisy = draw_phantom_cxr(num_images=30, img_size=28, seed=5, planted=Planted(label_noise=0.5))
    write_phantoms(noisy, tmp_path / "cxr", layout="csv")
    with (tmp_path / "cxr" / "labels.csv").open(newline="") as stream:
        given = {row["image_id"]: row["label"] for row in csv.DictReader(stream)}
    wrong = 0
    for row in truth_of(tmp_path / "cxr"):
        assert given[row["sample_id"]] == row["label"]
        assert row["label_is_wrong"] == str(int(row["label"] != row["true_label"]))
        wrong += int(row["label_is_wrong"])
    assert 3 < wrong < 27
