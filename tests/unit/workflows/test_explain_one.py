"""One map for a server: that of `chiron.explain`, with the bundle's verdict, while the network answers others."""

import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image
from served import files, picture, served

import chiron
from chiron.serve.limits import Limits
from chiron.serve.served_model import ServedModel
from chiron.spec.explainer_check import ExplainerCheck
from chiron.workflows.explain_one import ExplainsOne


def check(method: str, label: str, **changes) -> ExplainerCheck:
    told = {
        "method": method,
        "title": method,
        "label": label,
        "reasons": () if label == "recommended" else ("its maps hit no more than edges do",),
        "means": {},
        "source": "test",
        "num_images": 40,
        "num_units": 40,
        "class_name": None,
        "with_findings": False,
        "created": "2026-01-01T00:00:00+00:00",
        "chiron_version": "0",
    }
    return ExplainerCheck(**told | changes)


@pytest.fixture(scope="module")
def classifier(trained_run):
    return chiron.load(trained_run.bundle)


def photo() -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 120, (40, 40), dtype=np.uint8)
    pixels[8:20, 8:20] += 100
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def served_with(classifier, *checks: ExplainerCheck):
    classifier.explainers = checks
    return served(ServedModel.of("run", classifier, ExplainsOne(classifier, Limits())))


def ask(client, data: bytes | None = None, **fields: str):
    return client.post("/api/explain", files=files(data or photo(), field="image"), data=fields)


def opened(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_a_map_that_passed_is_shown_and_is_that_of_chiron_explain(classifier):
    with served_with(classifier, check("grad_cam", "recommended")) as client:
        card = client.get("/api/models").json()["models"][0]["explainer"]
        told = ask(client)
    assert (card["may_be_shown"], card["method"]) == (True, "grad_cam")
    assert told.status_code == 200
    said = told.json()
    expected = chiron.explain(classifier, photo(), method="grad_cam")[0]
    assert (said["method"], said["class_name"]) == ("grad_cam", expected.class_name)
    assert said["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert said["verdict"] == {"may_be_shown": True, "words": card["words"], "reasons": []}
    assert said["notice"] == "Where the model reacted, not where disease is."
    np.testing.assert_array_equal(opened(said["image_png"]), expected.shown[..., 0])
    picture_of_map = opened(said["saliency_png"]).astype(float).mean(axis=2)
    hottest = np.unravel_index(expected.heat.argmax(), expected.heat.shape)
    assert picture_of_map[hottest] > picture_of_map[expected.heat < 0.2].mean() + 50
    assert {"deletion", "insertion", "randomization"} <= set(said["scores"])


def test_what_did_not_pass_is_hidden_with_the_reason_until_the_user_insists(classifier):
    with served_with(classifier, check("hires_cam", "experimental")) as client:
        hidden = ask(client, method="hires_cam")
        unchecked = ask(client, method="occlusion")
        insisted = ask(client, method="hires_cam", insist="true").json()
    assert (hidden.status_code, hidden.json()["kind"]) == (409, "explainer_not_passed")
    assert "its maps hit no more than edges do" in hidden.json()["reasons"][0]
    assert "saliency_png" not in hidden.text
    assert unchecked.status_code == 409
    assert insisted["verdict"]["may_be_shown"] is False
    assert "experimental for this bundle" in insisted["verdict"]["words"]


def test_a_check_of_one_class_shows_that_class_alone(classifier):
    with served_with(classifier, check("grad_cam", "recommended", class_name="sick")) as client:
        assert ask(client, method="grad_cam", class_name="sick").status_code != 409  # a map of it may be blank
        assert ask(client, method="grad_cam", class_name="well").status_code == 409


@pytest.mark.parametrize(
    ("fields", "data", "kind", "sentence"),
    [
        ({"class_name": "ill"}, None, "cannot_be_explained", "must be one of sick, well"),
        ({"method": "magic"}, None, "cannot", "magic"),
        ({}, b"no image", "unreadable", "Got other content in image 1"),
        ({}, picture(size=(2, 2)), "unreadable", "at least 8 pixels"),
    ],
)
def test_what_cannot_be_explained_is_told(classifier, fields, data, kind, sentence):
    with served_with(classifier) as client:
        answer = ask(client, data, insist="true", **fields)
    assert (answer.status_code, answer.json()["kind"]) == (422, kind)
    assert sentence in answer.json()["error"]


def test_predictions_do_not_change_while_maps_are_made(classifier):
    """An explainer hooks into its network: it works on a copy."""
    data = photo()
    with served_with(classifier) as client:
        expected = client.post("/api/predict", files=files(data)).json()["results"]
        explaining = [threading.Thread(target=ask, args=(client, data), kwargs={"insist": "true"}) for _ in range(3)]
        for thread in explaining:
            thread.start()
        found = [client.post("/api/predict", files=files(data)).json()["results"] for _ in range(20)]
        for thread in explaining:
            thread.join()
    assert all(it == expected for it in found)
    assert not any(module._forward_hooks or module._backward_hooks for module in classifier.networks.modules())
