"""One file through the bundle, ONNX and OpenVINO: the same probabilities, whatever kind of image it is."""

import io

import numpy as np
import pytest
from bundles import PAIR, classifier_of
from dicom_files import dicom_file
from PIL import Image

import chiron
from chiron.exporting.write import write_export
from chiron.predictor import Predictor, find_inputs
from chiron.spec.decision import Calibration, Decision
from chiron.spec.input_spec import InputSpec

TOLERANCE = 1e-4  # of a probability
CALIBRATION = Calibration(method="platt", parameters=({"slope": (25.0,), "intercept": (0.2,)},), fitted_on="cal")


def encoded(image: Image.Image, kind: str, **how) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def files() -> dict[str, bytes]:
    random = np.random.default_rng(4)
    coarse = Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    picture = coarse.resize((73, 61), Image.Resampling.BICUBIC)
    values = random.integers(0, 4096, (61, 73), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    window = {"bits_stored": 12, "WindowCenter": 2000, "WindowWidth": 3000}
    return {
        "png.png": encoded(picture, "PNG"),
        "png16.png": encoded(Image.fromarray(values * 16), "PNG"),
        "exif.jpg": encoded(picture, "JPEG", quality=90, exif=exif),
        "cmyk.jpg": encoded(picture.convert("CMYK"), "JPEG", quality=90),
        "mono1.dcm": dicom_file(values, kind="MONOCHROME1", **window),
        "mono2.dcm": dicom_file(values, kind="MONOCHROME2", **window),
    }


@pytest.fixture(scope="module", params=[8, pytest.param(16, marks=pytest.mark.slow)])
def forms(request, tmp_path_factory):
    """A hybrid as a bundle, an ONNX file and an OpenVINO folder."""
    folder = tmp_path_factory.mktemp(f"forms{request.param}")
    spec = InputSpec(img_size=48, canonical_size=56, resize="letterbox", bit_depth=request.param)
    decision = Decision(calibration=CALIBRATION)
    made = classifier_of("chiron_h_coatnet_nano", PAIR, members=2, decision=decision, input_spec=spec)
    made.save(folder / "bundle")
    for to, name in (("onnx", "model.onnx"), ("openvino", "openvino")):
        write_export(made, folder / name, to=to)
    return {name: chiron.load(folder / name) for name in ("bundle", "model.onnx", "openvino")}


def test_every_form_says_the_same_of_every_kind_of_file(forms, tmp_path):
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    said = {}
    for form, scorer in forms.items():
        rows = list(Predictor(scorer, batch_size=4).rows(find_inputs([tmp_path])))
        assert [row.problem for row in rows] == [""] * len(files())
        said[form] = np.array([list(row.prediction.probabilities.values()) for row in rows])
        alone = [list(scorer.predict(tmp_path / row.name).probabilities.values()) for row in rows]
        assert np.abs(said[form] - alone).max() <= TOLERANCE
    for probs in said.values():
        assert np.abs(probs - said["bundle"]).max() <= TOLERANCE
    assert np.ptp(said["bundle"][:, 0]) > 100 * TOLERANCE, "files that all say the same show nothing"
