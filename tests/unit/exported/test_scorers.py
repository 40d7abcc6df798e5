"""Exported forms say what their bundle says, need no torch, keep quiet, and are refused when a byte has changed."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import PAIR
from PIL import Image
from small_bundles import pictures, small_classifier

import chiron
from chiron.core.errors import BundleError, SpecError
from chiron.exported.openvino import GRAPH, SPEC
from chiron.exporting.write import write_export
from chiron.loading import load
from chiron.spec.decision import Calibration, Decision, Threshold
from chiron.spec.export_spec import QualityCheck

THRESHOLD = {"question": "ill", "classes": ("b",), "rule": "expected", "sensitivity": 0.9, "value": 0.48}
FOUND = {"low": 0.3, "high": 0.6, "num_found": 70, "num_positive": 71, "num_groups": 71, "fitted_on": "cal"}
DECISION = Decision(
    calibration=Calibration(method="platt", parameters=({"slope": (3.0,), "intercept": (0.4,)},), fitted_on="cal"),
    questions={"ill": ("b",)},
    thresholds=(Threshold(**THRESHOLD, **FOUND),),
)
FORMS = ("onnx", "openvino")


@pytest.fixture(scope="module")
def classifier():
    made = small_classifier(labels=PAIR, members=2, decision=DECISION)  # with an out-of-scope score
    made.bundle_id = "0123456789abcdef"
    return made


@pytest.fixture(scope="module")
def forms(classifier, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("forms")
    paths = {"onnx": folder / "model.onnx", "openvino": folder / "openvino"}
    for to, path in paths.items():
        write_export(classifier, path, to=to)
    return paths


@pytest.fixture
def image(random):
    return random.integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_says_what_its_bundle_says(form, forms, classifier, image):
    loaded = chiron.load(forms[form])
    said, expected = loaded.predict(image), classifier.predict(image)
    assert said.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert said.decisions["ill"].threshold == 0.48
    assert said.decisions["ill"].answer == expected.decisions["ill"].answer
    assert said.calibrated
    assert said.scope.distance == pytest.approx(expected.scope.distance, rel=1e-3)
    assert (said.scope.in_scope, said.referral) == (expected.scope.in_scope, expected.referral)
    assert loaded.bundle_id == classifier.bundle_id
    assert loaded.bundle_spec == classifier.bundle_spec
    assert loaded.spec.agreement.largest_difference <= 1e-4


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_lower_precision_leaves_the_out_of_scope_score_as_it_is(precision, classifier, tmp_path):
    kept = QualityCheck(words="", split="val", num_images=1, num_flipped=0)
    write_export(classifier, tmp_path / "low", to="openvino", precision=precision, judge=lambda run: kept)
    images = np.stack([classifier.store(image) for image in pictures(6)])
    assert load(tmp_path / "low").outputs(images).distances == pytest.approx(
        classifier.outputs(images).distances, rel=1e-3
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_graph_itself_is_calibrated(form, forms, classifier, image):
    loaded = load(forms[form])
    outputs = loaded.run(loaded.store(image)[None])
    assert outputs["logits"].shape == (2, 1, 2)
    expected = list(classifier.predict(image).probabilities.values())
    assert outputs["probabilities"][0] == pytest.approx(expected, abs=1e-6)


def test_another_program_reads_the_onnx_file(forms, classifier, image):
    onnx.checker.check_model(onnx.load(forms["onnx"]))
    session = onnxruntime.InferenceSession(forms["onnx"], providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["chiron"])
    assert facts["bundle"]["labels"]["names"] == ["a", "b"]
    assert "not a medical device" in facts["disclaimer"]
    assert [(it.name, it.shape[1:]) for it in session.get_inputs()] == [("images", [32, 32, 1])]
    given = np.repeat(classifier.store(image)[None], 3, axis=0)
    assert session.run(["probabilities"], {"images": given})[0].shape == (3, 2)


def test_every_byte_of_an_onnx_file_counts(forms, tmp_path):
    content = forms["onnx"].read_bytes()
    for place in [*range(0, len(content), len(content) // 40), *range(-80, 0, 7)]:
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "model.onnx").write_bytes(changed)
        with pytest.raises(BundleError, match="checksum"):
            load(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(content[:-100])
    with pytest.raises(BundleError, match="Got a file without its checksum"):
        load(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", [GRAPH, "model.bin", SPEC])
def test_every_file_of_an_openvino_folder_counts(forms, tmp_path, name):
    for path in forms["openvino"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = (tmp_path / name).read_bytes()
    for place in range(0, len(content), len(content) // 10):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / name).write_bytes(changed)
        if name == SPEC and _means_the_same(content, changed):
            continue
        with pytest.raises(BundleError):
            load(tmp_path)


def _means_the_same(first: bytes, second: bytes) -> bool:
    try:
        return json.loads(first) == json.loads(second)
    except ValueError:
        return False


def test_foreign_files_are_refused_in_a_sentence(tmp_path, forms):
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="without its checksum"):
        load(tmp_path / "a.onnx")
    with pytest.raises(BundleError, match="no such file"):
        load(tmp_path / "b.onnx")
    (tmp_path / "c.pt2").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"can hold code. Give the bundle, or `chiron export BUNDLE --to onnx`"):
        load(tmp_path / "c.pt2")
    with pytest.raises(SpecError, match=r"runs on the processor. Got device 'cuda'"):
        load(forms["onnx"], device="cuda")


ALONE = """
import socket, sys
def no_network(*_):
    raise OSError("the network was asked")
socket.socket.connect = no_network
from chiron.cli.main import run
code = run(["predict", sys.argv[1], sys.argv[2], "--threads", "1", "--json"])
sys.exit(code)
"""


@pytest.mark.parametrize("form", FORMS)
def test_prediction_needs_no_torch_and_leaves_nothing_in_the_home_folder(form, forms, classifier, image, tmp_path):
    for name in ("home", "first"):
        (tmp_path / name).mkdir()
    for name in ("torch", "torchvision", "timm"):  # found before the real ones
        (tmp_path / "first" / f"{name}.py").write_text("raise ImportError('it is not here')")
    Image.fromarray(image).save(tmp_path / "a.png")
    command = [sys.executable, "-c", ALONE, str(forms[form]), str(tmp_path / "a.png")]
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "first"), *sys.path])
    environment |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)[0]
    assert said["probabilities"] == pytest.approx(classifier.predict(image).probabilities, abs=1e-6)
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_told_the_same_alone_and_among_others_and_in_several_threads(form, forms, random):
    loaded = load(forms[form], threads=2)
    stored = random.integers(0, 256, (7, 32, 32, 1), dtype=np.uint8)
    alone = np.concatenate([loaded.run(image[None])["logits"] for image in stored], axis=1)
    for count in (2, 3, 7):
        outputs = loaded.run(stored[:count])
        np.testing.assert_allclose(outputs["logits"], alone[:, :count], atol=1e-6)
        assert outputs["probabilities"].shape == (count, 2)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: loaded.run(stored)["logits"], range(12)):
            np.testing.assert_allclose(found, alone, atol=1e-6)


def test_threads_are_those_asked_for(forms):
    compiled = load(forms["openvino"], threads=1).compiled
    assert [it.get_property("INFERENCE_NUM_THREADS") for it in compiled] == [1, 1]
    assert load(forms["onnx"], threads=1).session.get_session_options().intra_op_num_threads == 1


def test_fp32_is_fp32_where_the_processor_has_bf16(forms):
    compiled = load(forms["openvino"]).compiled
    assert [it.get_property("INFERENCE_PRECISION_HINT").to_string() for it in compiled] == ["f32", "f32"]
