"""Ids of DICOM images: joined by patient and study, hashed everywhere, in trees of folders and in tables."""

import io
import json
from contextlib import contextmanager

import numpy as np
import pytest
from dicom_files import SECRETS, dicom_bytes, dicom_dataset
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian

from chiron.audit.leaks import find_leaks
from chiron.core.hashing import keyed_hash, sha256_bytes
from chiron.data.dicom_header import read_dicom_header
from chiron.data.dicom_ids import _headers
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.predictor import find_inputs
from chiron.spec.layout import Layout
from chiron.workflows.data import split_data

KEY = b"k" * 32
LAYOUT = Layout(id_key=lambda: KEY)


def dicom(random, **elements) -> bytes:
    return dicom_bytes(dicom_dataset(random.integers(0, 256, (12, 13), dtype=np.uint8), **elements))


@pytest.fixture
def folder(tmp_path, random):
    """Twelve images of six patients; a patient's two images are of different studies."""
    for k in range(12):
        path = tmp_path / "data" / "ab"[k % 2] / f"Doe^Jane {k}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        how = {"PatientID": f"MRN-{k // 2}", "SOPInstanceUID": f"1.2.3.{k}", "Modality": "CR", "ViewPosition": "PA"}
        path.write_bytes(dicom(random, **how))
    return tmp_path / "data"


def test_header_gives_hashes_and_how_it_was_taken(random):
    how = {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.4",
        "SOPInstanceUID": "1.2.5",
        "Manufacturer": "Acme ",
    }
    header = read_dicom_header(io.BytesIO(dicom(random, BurnedInAnnotation="YES", **how)), "x", KEY)
    assert header.patient_id == keyed_hash(KEY, SECRETS[2])
    assert (header.study_id, header.series_id) == (keyed_hash(KEY, "1.2.3"), keyed_hash(KEY, "1.2.4"))
    assert header.image_id == "d-" + keyed_hash(KEY, "1.2.5")
    assert header.burned_in
    assert header.technical == {
        "modality": "OT",
        "manufacturer": "Acme",
        "view_position": None,
        "photometric_interpretation": "MONOCHROME2",
        "bits_stored": "8",
    }
    assert not [secret for secret in SECRETS if secret in str(header)]


@pytest.mark.parametrize("said", ["", "ANONYMOUS", "Anonymized", "0000", "unknown", "n/a"])
def test_a_patient_who_is_not_known_is_none(random, said):
    assert read_dicom_header(io.BytesIO(dicom(random, PatientID=said)), "x", KEY).patient_id is None


def test_class_folders_of_dicom_files(folder):
    manifest = read_dataset(folder, LAYOUT)
    frame = manifest.frame
    assert frame["patient_id"].n_unique() == 6
    assert frame["group_id"].n_unique() == 6
    assert manifest.id_certainty == {"patient_id": "certain", "study_id": "certain"}
    assert manifest.roles["modality"] == manifest.roles["bits_stored"] == "technical"
    assert manifest.roles["study_id"] == "identifier"
    assert manifest.grouping == "Grouped by patient and study of the DICOM headers."
    assert "DICOM images: 12; patients 6, studies 12." in manifest.notes
    row = frame.filter(frame["path"] == "a/Doe^Jane 0.dcm").row(0, named=True)
    assert row["patient_id"] == keyed_hash(KEY, "MRN-0")
    assert row["sample_id"] == "d-" + keyed_hash(KEY, "1.2.3.0")
    text = frame.drop("path").write_csv() + json.dumps([dict(manifest.roles), list(manifest.notes)])
    assert not [secret for secret in (*SECRETS, "MRN-", "1.2.3.", "Jane") if secret in text]


def test_the_same_key_gives_the_same_ids_and_another_others(folder):
    first, again = (read_dataset(folder, LAYOUT).frame for _ in range(2))
    other = read_dataset(folder, Layout(id_key=lambda: b"o" * 32)).frame
    unkeyed = read_dataset(folder).frame
    assert first.equals(again)
    for frame in (other, unkeyed):
        assert not set(frame["patient_id"]) & set(first["patient_id"])
        assert frame["group_id"].n_unique() == 6


def test_one_study_joins_images_without_a_patient(tmp_path, random):
    for k in range(4):
        path = tmp_path / "ab"[k % 2] / f"{k}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dicom(random, PatientID="", StudyInstanceUID=f"1.2.{k // 2}", BurnedInAnnotation="YES"))
    manifest = read_dataset(tmp_path, LAYOUT)
    assert manifest.frame["group_id"].n_unique() == 2
    assert manifest.id_certainty == {"study_id": "certain"}
    assert "Burned-in annotation: 4 images say that text is drawn into the picture." in manifest.notes


def test_copies_of_a_file_have_ids_of_their_own(tmp_path, random):
    data = dicom(random)
    for name in ("a/1.dcm", "a/2.dcm", "b/3.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data if "a" in name else dicom(random))
    names = sorted(read_dataset(tmp_path, LAYOUT).frame["sample_id"])
    assert len(set(names)) == 3
    assert sum(name.endswith("-2") for name in names) == 1


def test_a_table_with_patients_keeps_them_and_the_files_join_too(folder):
    lines = ["image,label,patient_id"]
    lines += [f"Doe^Jane {k}.dcm,{'ab'[k % 2]},{'p' if k < 2 else f'q{k}'}" for k in range(12)]
    table = folder.parent / "labels.csv"
    table.write_text("\n".join(lines))
    manifest = read_dataset(table, Layout(images=folder, id_key=lambda: KEY))
    assert "p" in set(manifest.frame["patient_id"])
    assert manifest.frame["dicom_patient_id"].n_unique() == 6
    assert manifest.frame["group_id"].n_unique() == 6
    assert manifest.id_certainty["dicom_patient_id"] == "certain"


def test_a_patient_in_two_splits_is_a_leak(tmp_path, random):
    for k, split in enumerate(("train", "train", "test", "test")):
        path = tmp_path / split / "ab"[k % 2] / f"{k}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(random, PatientID="MRN-1" if k in (0, 2) else f"MRN-{k + 5}"))
    leaks = find_leaks(read_dataset(tmp_path, LAYOUT)).leaks
    assert leaks
    assert not [pair for pair in leaks if "MRN" in str(pair)]


def test_files_without_suffix_are_known_by_their_mark(tmp_path, random):
    for k in range(4):
        path = tmp_path / "data" / "ab"[k % 2] / ("IM0000" if k == 0 else f"1.2.840.{k}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(random))
    (tmp_path / "data" / "a" / "README").write_text("no image")
    (tmp_path / "data" / "DICOMDIR").write_bytes(dicom(random))
    manifest = read_dataset(tmp_path / "data", LAYOUT)
    assert manifest.frame.height == 4
    assert set(manifest.frame["status"]) == {"ok"}
    assert len(find_inputs([tmp_path / "data"])) == 4
    Image.new("L", (9, 9)).save(tmp_path / "data" / "a" / "x.png")
    assert len(find_inputs([tmp_path / "data"])) == 5  # images by name hide no others


def test_a_damaged_file_is_unreadable_and_stops_nothing_else(folder):
    (folder / "a" / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    frame = read_dataset(folder, LAYOUT).frame
    row = frame.filter(frame["path"] == "a/broken.dcm").row(0, named=True)
    assert (row["status"], row["patient_id"]) == ("unreadable", None)


def test_splitting_writes_the_project_key_only_for_dicom(folder, tmp_path, random):
    fractions = {"train": 0.5, "val": 0.5}
    [manifest] = split_data(folder, tmp_path / "project" / "split", fractions=fractions).manifests
    key = bytes.fromhex((tmp_path / "project" / "sharing_key").read_text())
    in_header = keyed_hash(key, "MRN-0")
    assert f"i-{keyed_hash(key, in_header)}" in set(manifest.frame["patient_id"])  # strict hashes what is there
    for k in range(8):
        path = tmp_path / "png" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 9), dtype=np.uint8)).save(path)
    split_data(tmp_path / "png", tmp_path / "other" / "split", fractions=fractions)
    assert not (tmp_path / "other" / "sharing_key").exists()


def test_headers_are_read_without_pixels_and_the_key_is_asked_for_once(folder, random):
    large = dicom_dataset(random.integers(0, 256, (2000, 2000), dtype=np.uint8), PatientID="MRN-99")
    (folder / "a" / "large.dcm").write_bytes(dicom_bytes(large))
    nameless = dicom_dataset(random.integers(0, 256, (12, 13), dtype=np.uint8))
    del nameless.SOPInstanceUID
    (folder / "a" / "none.dcm").write_bytes(dicom_bytes(nameless))
    deflated = dicom_dataset(random.integers(0, 256, (12, 13), dtype=np.uint8), PatientID="MRN-7")
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    (folder / "a" / "deflated.dcm").write_bytes(dicom_bytes(deflated))
    source, asked, read = ImageSource(folder), [], {}
    opened = source.open

    @contextmanager
    def counting(path):
        with opened(path) as stream, Counting(stream) as counted:
            yield counted
        read[path] = counted.num_bytes

    source.open = counting
    found = _headers(source.names(), source, lambda: asked.append(1) or KEY)
    assert len(asked) == 1
    for path in source.names():
        assert found[path] == read_dicom_header(io.BytesIO(source.read_bytes(path)), path, KEY)
    assert found["a/large.dcm"].patient_id == keyed_hash(KEY, "MRN-99")
    assert found["a/deflated.dcm"].patient_id == keyed_hash(KEY, "MRN-7")
    whole = sha256_bytes(source.read_bytes("a/none.dcm"))
    assert found["a/none.dcm"].image_id == "d-" + keyed_hash(KEY, whole)
    assert read["a/large.dcm"] < 200_000


class Counting(io.BufferedReader):
    """Counts what is asked for."""

    num_bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.num_bytes += len(data)
        return data
