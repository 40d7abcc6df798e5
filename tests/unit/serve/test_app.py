"""What a client is told: shapes, sentences, and what is never told."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from served import Brightness, Unlike, blank_picture, files, hostile_files, limited, picture, served

from chiron.serve.served_model import ServedModel
from chiron.spec.decision import Decision


def test_a_prediction_is_the_scorers_own():
    scorer = Brightness()
    with served(ServedModel.of("bright", scorer)) as client:
        answer = client.post("/api/predict", files=files(picture(200)))
    assert answer.status_code == 200
    told = answer.json()
    assert (told["model"], told["bundle_id"], told["unit"]) == ("bright", scorer.bundle_id, None)
    assert "not a medical device" in told["disclaimer"]
    (result,) = told["results"]
    assert (result["index"], result["status"], result["problem"]) == (0, "ok", None)
    assert result["prediction"] == json.loads(json.dumps(scorer.predict(picture(200)).to_dict()))
    assert result["experience"] == []


def test_several_images_keep_their_order_and_a_bad_one_stops_nobody():
    with served() as client:
        told = client.post("/api/predict", files=files(picture(30), b"no image", picture(220))).json()
    first, bad, last = told["results"]
    assert [it["index"] for it in told["results"]] == [0, 1, 2]
    assert (bad["status"], bad["prediction"]) == ("unreadable", None)
    assert "Got other content in image 2" in bad["problem"]
    assert first["prediction"]["probabilities"]["ill"] < 0.5 < last["prediction"]["probabilities"]["ill"]


def test_images_of_one_unit_are_combined_by_the_bundles_rule():
    scorer = Brightness(decision=Decision(unit="patient", combine="max_prob"))
    images = [picture(40), picture(180), picture(90)]
    with served(ServedModel.of("bright", scorer)) as client:
        told = client.post("/api/predict", files=files(*images), data={"together": "true"}).json()
    assert len(told["results"]) == 3
    expected = scorer.predict_unit(images)
    assert told["unit"]["prediction"]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-12)
    assert told["unit"]["prediction"]["confidence"] == pytest.approx(scorer.predict(images[1]).confidence)
    assert told["unit"]["input_sha256_keyed"] not in {it["input_sha256_keyed"] for it in told["results"]}


def test_an_image_out_of_scope_gets_no_probabilities_until_the_user_insists():
    with served(ServedModel.of("unlike", Unlike())) as client:
        plain = client.post("/api/predict", files=files(picture(10), picture(200))).json()["results"]
        insisted = client.post("/api/predict", files=files(picture(10)), data={"insist": "true"}).json()["results"]
    assert [it["status"] for it in plain] == ["out_of_scope", "ok"]
    assert set(plain[0]["prediction"]) == {"calibrated", "scope", "referral", "disclaimer"}
    assert plain[0]["prediction"]["referral"]["refer"]
    assert "out of the bundle's scope" in plain[0]["prediction"]["referral"]["reasons"][0]
    assert plain[0]["prediction"]["scope"]["distance"] > plain[0]["prediction"]["scope"]["limit"] == 1.5
    assert insisted[0]["status"] == "out_of_scope"
    assert insisted[0]["prediction"]["probabilities"]["ill"] < 0.1


def test_a_unit_with_an_image_out_of_scope_is_out_of_scope():
    with served(ServedModel.of("unlike", Unlike())) as client:
        told = client.post("/api/predict", files=files(picture(10), picture(200)), data={"together": "true"}).json()
    assert told["unit"]["status"] == "out_of_scope"
    assert "probabilities" not in told["unit"]["prediction"]


def test_an_image_without_anything_to_be_seen_is_out_of_scope_whatever_the_bundle_knows():
    with served() as client:
        (result,) = client.post("/api/predict", files=files(blank_picture())).json()["results"]
    assert result["status"] == "out_of_scope"
    assert "probabilities" not in result["prediction"]
    assert "nothing to be seen" in result["prediction"]["referral"]["reasons"][0]


def test_no_reason_tells_the_score_of_an_image_whose_output_is_withheld():
    stream = io.BytesIO()
    Image.new("L", (64, 64), 111).save(stream, "PNG")  # nothing to be seen, and a score within its threshold's interval
    with served() as client:
        plain, insisted = (
            client.post("/api/predict", files=files(stream.getvalue()), data={"insist": insist}).json()["results"][0]
            for insist in ("false", "true")
        )
    assert any("lies in the 95 % interval" in it for it in insisted["prediction"]["referral"]["reasons"])
    assert plain["prediction"]["referral"]["reasons"] == [plain["problem"]] == [insisted["problem"]]
    assert "nothing to be seen" in plain["problem"]


@pytest.mark.parametrize("kind", hostile_files())
def test_what_is_no_usable_image_is_refused_in_a_sentence(kind):
    with served() as client:
        answer = client.post("/api/predict", files=files(hostile_files()[kind]))
    assert (answer.status_code, answer.json()["kind"]) == (422, "unreadable")
    assert "Got " in answer.json()["error"]


def test_pixels_are_counted_before_anything_is_unpacked():
    with served(rules=limited(max_pixels=999)) as client:
        large = client.post("/api/predict", files=files(picture(size=(20, 50)))).json()
        small = client.post("/api/predict", files=files(picture(size=(27, 37))))
    assert "at most 999 pixels. Got more in image 1: 50 x 20" in large["error"]
    assert small.status_code == 200


def test_magic_bytes_decide_not_names_or_types():
    with served() as client:
        told = client.post("/api/predict", files=files(picture(200), name="report.dcm", kind="application/dicom"))
        assert told.status_code == 200
        assert client.post("/api/predict", files=files(b"%PDF-1.4", name="x.png")).status_code == 422


def test_a_name_of_a_file_is_never_told_again():
    name = "Mueller_Anna_1950-01-01.png"
    with served() as client:
        for data in (picture(), b"no image", hostile_files()["truncated jpeg"]):
            answer = client.post("/api/predict", files=files(data, picture(), name=name))
            assert "Mueller" not in answer.text + str(answer.headers)
        assert "Mueller" not in client.get("/metrics").text


def test_equal_uploads_have_equal_hashes_which_are_no_plain_ones():
    with served() as client, served() as other:
        same = [client.post("/api/predict", files=files(picture(7))).json()["results"][0] for _ in range(2)]
        elsewhere = other.post("/api/predict", files=files(picture(7))).json()["results"][0]
        another = client.post("/api/predict", files=files(picture(8))).json()["results"][0]
    hashes = [it["input_sha256_keyed"] for it in (*same, another, elsewhere)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("parts", "fields", "status", "kind"),
    [
        ([], {"model": "bright"}, 415, "not_a_form"),
        (files(picture(), field="image"), {}, 422, "bad_field"),
        (files(picture()), {"model": "none"}, 404, "unknown_model"),
        (files(picture()), {"together": "perhaps"}, 422, "bad_field"),
        (files(picture()), {"insist": "2"}, 422, "bad_field"),
        (files(picture()), {"treshold": "0.1"}, 422, "bad_field"),
        (files(*[picture()] * 17), {}, 413, "too_many_images"),
        (files(*[picture()] * 30), {}, 413, "too_many_images"),
        (files(picture()), {"model": "x" * 5000}, 400, "broken_form"),
    ],
)
def test_a_wrong_form_is_told(parts, fields, status, kind):
    with served() as client:
        answer = client.post("/api/predict", files=parts, data=fields)
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert answer.json()["error"].count("Got ") == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"--b", b"--b\r\n\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", b"\x00" * 100],
)
def test_a_broken_form_is_told(body):
    with served() as client:
        answer = client.post("/api/predict", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
        bare = client.post("/api/predict", content=body, headers={"content-type": "multipart/form-data"})
    assert answer.status_code in (400, 422)
    assert bare.status_code == 400
    assert answer.json()["kind"] in ("broken_form", "no_image")


def test_of_several_models_one_must_be_named():
    dark = Brightness(bundle_id="dark")
    models = [ServedModel.of("bright", Brightness()), ServedModel.of("dark", dark)]
    with served(*models) as client:
        unnamed = client.post("/api/predict", files=files(picture()))
        named = client.post("/api/predict", files=files(picture()), data={"model": "dark"})
        assert client.get("/health").json() == {"status": "ok", "models": ["bright", "dark"]}
    assert unnamed.status_code == 404
    assert "one of bright, dark" in unnamed.json()["error"]
    assert named.json()["bundle_id"] == "dark"
    assert dark.batches == [1]


def test_the_card_says_what_a_model_is():
    with served() as client:
        told = client.get("/api/models").json()
    (card,) = told["models"]
    assert card["classes"] == [{"name": "ill", "description": "bright"}, {"name": "well", "description": ""}]
    assert (card["positive"], card["several"], card["unit"], card["calibrated"]) == ("ill", False, "image", True)
    (question,) = card["questions"]
    assert question["threshold"]["value"] == 0.3
    assert question["threshold"]["sensitivity_promised"] == 0.9
    assert card["limits"] == {"max_bytes": 32 << 20, "max_pixels": 40_000_000, "max_images": 16}
    assert card["explainer"]["may_be_shown"] is False
    assert "exported" in card["explainer"]["words"]
    assert any("for whom" in it for it in card["warnings"])


def test_an_exported_model_has_no_explanation_even_for_those_who_insist():
    with served() as client:
        answer = client.post("/api/explain", files=files(picture(), field="image"), data={"insist": "true"})
    assert (answer.status_code, answer.json()["kind"]) == (409, "no_explanation")


def test_unknown_addresses_and_methods_are_told_alike():
    with served() as client:
        for answer, status in ((client.get("/api/nothing"), 404), (client.get("/api/predict"), 405)):
            assert answer.status_code == status
            assert set(answer.json()) == {"error", "kind", "reasons"}
        assert client.get("/api/predict").headers["allow"] == "POST"
        assert client.get("/page/../app.py").status_code == 404
        assert client.get("/page/%2e%2e/app.py").status_code == 404


def test_the_page_is_served_with_its_files():
    with served() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        assert client.get("/page/index.html").content == page.content


def test_an_error_inside_is_told_without_what_it_holds(monkeypatch, caplog):
    scorer = Brightness()
    monkeypatch.setattr(scorer, "outputs", lambda stored: 1 / np.array("secret of Mueller"))
    with served(ServedModel.of("bright", scorer)) as client:
        answer = client.post("/api/predict", files=files(picture()))
        again = client.get("/health")
    assert (answer.status_code, answer.json()["kind"]) == (500, "internal")
    assert "secret" not in answer.text + caplog.text
    assert "TypeError" in caplog.text
    assert again.status_code == 200


def test_counts_are_told_to_prometheus():
    with served() as client:
        client.post("/api/predict", files=files(picture(), b"no image"))
        client.post("/api/predict", files=files(b"no image"))
        told = client.get("/metrics").text
    for line in (
        'chiron_requests_total{path="/api/predict",status="200"} 1.0',
        'chiron_requests_total{path="/api/predict",status="422"} 1.0',
        'chiron_images_total{model="bright",status="ok"} 1.0',
        'chiron_images_total{model="bright",status="unreadable"} 1.0',
        'chiron_batch_images_count{model="bright"} 1.0',
        'chiron_refusals_total{kind="unreadable"} 1.0',
        'chiron_request_seconds_count{path="/api/predict"} 2.0',
    ):
        assert line in told, line
