"""Phantoms as DICOM files: the pixels that were drawn, patients in the header, nothing that tells the class."""

import io

import numpy as np
import pytest
from pydicom import dcmread

from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.phantoms.dicom import dicom_file
from chiron.data.phantoms.write import write_phantoms
from chiron.data.reading import read_dataset
from chiron.preprocess.decode import decode_image


@pytest.fixture(scope="module")
def phantoms():
    return draw_phantom_cxr(num_images=24, img_size=32, seed=5)


@pytest.fixture(scope="module")
def files(phantoms) -> list[bytes]:
    return [dicom_file(row, image, seed=0) for row, image in zip(phantoms.rows, phantoms.images, strict=True)]


def test_files_hold_the_pixels_that_were_drawn_whether_inverted_or_not(phantoms, files):
    kinds = {dcmread(io.BytesIO(data)).PhotometricInterpretation for data in files}
    assert kinds == {"MONOCHROME1", "MONOCHROME2"}
    for data, image in zip(files, phantoms.images, strict=True):
        decoded = decode_image(data, "x.dcm")
        assert decoded.dtype == np.uint16
        np.testing.assert_array_equal(np.rint(decoded[..., 0] / 257), image)


def test_patients_stand_in_the_header_and_the_label_nowhere(phantoms, files):
    for row, data in zip(phantoms.rows, files, strict=True):
        header = dcmread(io.BytesIO(data))
        assert (header.PatientID, str(header.PatientName)) == (row.patient_id, f"Phantom^{row.patient_id}")
        assert header.ViewPosition == row.params["view"]
        assert header.BitsStored == 12
        assert row.label.encode() not in data
    uids = {str(dcmread(io.BytesIO(data)).SOPInstanceUID) for data in files}
    assert len(uids) == len(files)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(phantoms, files):
    row, image = phantoms.rows[0], phantoms.images[0]
    assert dicom_file(row, image, seed=0) == files[0]
    assert dicom_file(row, image, seed=1) != files[0]


def test_the_layout_is_read_by_patient_without_a_table(phantoms, tmp_path):
    folder = write_phantoms(phantoms, tmp_path / "xrays", layout="dicom")
    manifest = read_dataset(folder)
    assert manifest.reader == "class_folders"
    assert manifest.frame["patient_id"].n_unique() == len({row.patient_id for row in phantoms.rows})
    assert manifest.frame["label"].value_counts().height == 2
    assert not set(manifest.frame["sample_id"]) & {row.sample_id for row in phantoms.rows}
    assert sorted(path.suffix for path in folder.rglob("*") if path.is_file()) == [".dcm"] * len(phantoms)
    assert (tmp_path / "xrays-truth" / "truth.csv").is_file()
