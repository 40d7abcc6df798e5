"""What a server says of a file is what the classifier itself says of it, whatever kind of file it is."""

import io

import numpy as np
import pytest
from dicom_files import dicom_file
from PIL import Image
from served import files, served

import chiron
from chiron.serve.served_model import ServedModel

TOLERANCE = 1e-4  # of a probability; batches of other sizes round otherwise


def encoded(kind: str, seed: int = 0) -> bytes:
    """One picture with a bright patch as a file of that kind."""
    random = np.random.default_rng(seed)
    gray = random.integers(0, 120, (50, 40), dtype=np.uint8)
    gray[10:22, 8:30] += 100
    color = np.stack([gray, gray // 2 + 40, 255 - gray], axis=2)
    if kind.startswith("MONOCHROME"):
        how = {"bits_stored": 12, "WindowCenter": 2000, "WindowWidth": 3000}
        return dicom_file(gray.astype(np.uint16) * 16, kind=kind, PatientName="Mueller^Anna", **how)
    stream = io.BytesIO()
    if kind == "PNG":
        Image.fromarray(color).save(stream, "PNG")
    elif kind == "16-bit PNG":
        Image.fromarray(gray.astype(np.uint16) * 257 + 91).save(stream, "PNG")
    elif kind == "EXIF JPEG":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(color).save(stream, "JPEG", quality=90, exif=exif)
    else:
        Image.fromarray(color).convert("CMYK").save(stream, "JPEG", quality=90)
    return stream.getvalue()


KINDS = ("PNG", "16-bit PNG", "EXIF JPEG", "CMYK JPEG", "MONOCHROME1", "MONOCHROME2")


@pytest.fixture(scope="module")
def classifier(trained_run):
    return chiron.load(trained_run.bundle)


@pytest.fixture(scope="module")
def client(classifier):
    with served(ServedModel.of("run", classifier)) as made:
        yield made


def probabilities(result: dict) -> np.ndarray:
    return np.array(list(result["prediction"]["probabilities"].values()))


@pytest.mark.parametrize("kind", KINDS)
def test_one_file(classifier, client, kind, tmp_path):
    data = encoded(kind)
    (tmp_path / "a-file").write_bytes(data)
    expected = classifier.predict(tmp_path / "a-file").to_dict()
    (result,) = client.post("/api/predict", files=files(data), data={"insist": "true"}).json()["results"]
    got = np.array(list(expected["probabilities"].values()))
    assert np.abs(probabilities(result) - got).max() <= TOLERANCE
    assert result["prediction"]["predicted_class"] == expected["predicted_class"]
    assert "Mueller" not in str(result)


def test_all_kinds_in_one_request_and_as_one_unit(classifier, client):
    data = [encoded(kind, seed) for seed, kind in enumerate(KINDS)]
    told = client.post("/api/predict", files=files(*data), data={"together": "true", "insist": "true"}).json()
    alone = np.array([list(classifier.predict(it).probabilities.values()) for it in data])
    assert np.abs(np.array([probabilities(it) for it in told["results"]]) - alone).max() <= TOLERANCE
    assert np.ptp(alone[:, 0]) > 100 * TOLERANCE  # different files differ
    unit = np.array(list(classifier.predict_unit(data).probabilities.values()))
    assert np.abs(probabilities(told["unit"]) - unit).max() <= TOLERANCE
