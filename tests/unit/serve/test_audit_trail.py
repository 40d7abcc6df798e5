"""The audit trail: a line for each output that was told, none that could be told without it, and nothing private."""

import json
import threading

import pytest
from served import Brightness, Unlike, files, picture, served

from chiron.core.chain import read_chain
from chiron.serve.audit_trail import AuditTrail
from chiron.serve.served_model import ServedModel


@pytest.fixture
def trail(tmp_path):
    return AuditTrail(tmp_path / "audit" / "trail.jsonl")


def test_each_output_has_a_line_that_the_image_leads_to(trail):
    scorer = Brightness()
    with served(ServedModel.of("bright", scorer), trail=trail) as client:
        parts = files(picture(200), b"no image", name="Mueller_1950.png")
        told = client.post("/api/predict", files=parts, data={"together": "true"}).json()
    lines, whole = read_chain(trail.path)
    assert whole
    assert [it["status"] for it in lines] == ["ok", "unreadable", "ok"]
    first = lines[0]
    assert first["input"] == told["results"][0]["input_sha256_keyed"]
    assert first["output"]["probabilities"] == told["results"][0]["prediction"]["probabilities"]
    assert (first["bundle_id"], first["thresholds"]) == (scorer.bundle_id, {"ill": 0.3})
    assert {"time", "asked", "chiron_version"} <= set(first)
    assert "Mueller" not in trail.path.read_text()
    again = AuditTrail(trail.path)  # as after a new start of the server: the same key
    with served(ServedModel.of("bright", scorer), trail=again) as client:
        later = client.post("/api/predict", files=files(picture(200))).json()
    assert later["results"][0]["input_sha256_keyed"] == first["input"]
    assert (trail.path.parent / "sharing_key").stat().st_mode & 0o077 == 0
    assert again.is_whole


def test_what_was_withheld_is_withheld_there_too(trail):
    with served(ServedModel.of("unlike", Unlike()), trail=trail) as client:
        client.post("/api/predict", files=files(picture(10)))
    (line,) = read_chain(trail.path)[0]
    assert line["status"] == "out_of_scope"
    assert "probabilities" not in line["output"]


def test_requests_at_a_time_keep_the_chain_whole(trail):
    with served(trail=trail) as client:
        senders = [
            threading.Thread(target=client.post, args=("/api/predict",), kwargs={"files": files(picture(k), picture())})
            for k in range(8)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    lines, whole = read_chain(trail.path)
    assert whole
    assert len(lines) == 16


def test_an_output_that_cannot_be_kept_is_not_told(trail):
    trail.path.mkdir(parents=True)
    with served(trail=trail) as client:
        answer = client.post("/api/predict", files=files(picture()))
    assert (answer.status_code, answer.json()["kind"]) == (503, "no_audit_trail")
    assert str(trail.path) not in answer.text
    assert "probabilities" not in answer.text


def test_without_a_trail_nothing_is_written(tmp_path, monkeypatch):
    def no_file(*arguments, **options):
        raise AssertionError("an upload went to disk")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.TemporaryFile", no_file)
    large = picture(size=(1500, 1500), kind="BMP")
    assert len(large) > 1 << 20  # from here on Starlette's own parser would write to disk
    with served() as client:
        assert client.post("/api/predict", files=files(large)).status_code == 200
    assert not list(tmp_path.iterdir())


def test_a_changed_line_is_noticed(trail):
    with served(trail=trail) as client:
        client.post("/api/predict", files=files(picture(), picture()))
    lines = trail.path.read_text().splitlines()
    entry = json.loads(lines[0])
    entry["output"]["confidence"] = 0.999
    trail.path.write_text("\n".join([json.dumps(entry), *lines[1:]]) + "\n")
    assert not trail.is_whole
