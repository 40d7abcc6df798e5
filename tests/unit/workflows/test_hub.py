"""chiron bundle push | pull against a server on this machine that stands in for the Hub."""

import base64
import json

import pytest
import stand_in
from bundles import PAIR, classifier_of
from huggingface_hub import constants

from chiron.bundle_files import BUNDLE_FILES
from chiron.cli.main import run
from chiron.core.errors import BundleError, FetchError, SpecError
from chiron.models.weights import pretrained
from chiron.workflows.hub import pull_bundle, push_bundle

COMMIT = "b" * 40


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "getproxies", dict)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with stand_in.stand_in() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


@pytest.fixture
def bundle(tmp_path):
    classifier_of(labels=PAIR).save(tmp_path / "bundle")
    return tmp_path / "bundle"


def serve(server, files: dict[str, bytes]) -> None:
    siblings = [{"rfilename": name} for name in files]
    found = json.dumps({"id": "clinic/skin", "sha": COMMIT, "siblings": siblings, "private": True, "tags": []}).encode()
    server.answers["/api/models/clinic/skin/revision/main"] = stand_in.status(
        200, found, Content_Type="application/json"
    )
    for name, content in files.items():
        answer = stand_in.file(content, headers={"X-Repo-Commit": COMMIT})
        server.answers[f"/clinic/skin/resolve/{COMMIT}/{name}"] = answer


def of_folder(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_pulled_is_the_bundle_and_nothing_else(server, bundle, tmp_path, capsys):
    serve(server, of_folder(bundle) | {"evil.pkl": b"\x80\x04.", "figure.png": b"x"})
    command = ["bundle", "pull", "clinic/skin", "--out", str(tmp_path / "pulled")]
    assert run(command) == 0
    assert of_folder(tmp_path / "pulled") == of_folder(bundle)
    assert not [path for path, _ in server.asked if "evil" in path or "figure" in path]
    of_bundle = [headers for path, headers in lowered(server.asked) if "resolve" in path]
    assert {headers["authorization"] for headers in of_bundle} == {"Bearer hf_secret"}
    assert run(command) == 2
    assert "must not exist yet" in capsys.readouterr().err


def lowered(asked):
    return [(path, {name.lower(): value for name, value in headers.items()}) for path, headers in asked]


def test_a_damaged_bundle_leaves_nothing(server, bundle, tmp_path):
    files = of_folder(bundle)
    weights = bytearray(files["weights.safetensors"])
    weights[-1] ^= 1
    serve(server, files | {"weights.safetensors": bytes(weights)})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BundleError, match="checksums must hold"):
        pull_bundle("clinic/skin", tmp_path / "pulled")
    assert sorted(tmp_path.iterdir()) == before


def test_other_repositories_are_told(server, tmp_path):
    serve(server, {"model.safetensors": b"x"})
    with pytest.raises(BundleError, match=r"Got model.safetensors in clinic/skin"):
        pull_bundle("clinic/skin", tmp_path / "pulled")
    server.answers["/api/models/clinic/skin/revision/main"] = stand_in.status(404, b"{}", X_Error_Code="RepoNotFound")
    with pytest.raises(FetchError, match="no such repository, or no right to see it"):
        pull_bundle("clinic/skin", tmp_path / "pulled")
    with pytest.raises(SpecError, match="must be OWNER/NAME"):
        pull_bundle("skin", tmp_path / "pulled")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_pushed_as_one_commit_into_a_private_repository(server, bundle, capsys):
    made = json.dumps({"url": f"{server.url}/clinic/skin", "name": "clinic/skin"}).encode()
    server.answers["/api/repos/create"] = stand_in.status(200, made)
    server.answers["/api/validate-yaml"] = stand_in.status(200, b'{"errors": [], "warnings": []}')
    regular = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in BUNDLE_FILES]
    server.answers["/api/models/clinic/skin/preupload/main"] = stand_in.status(
        200, json.dumps({"files": regular}).encode()
    )
    done = json.dumps({"commitUrl": f"{server.url}/clinic/skin/commit/{COMMIT}", "commitOid": COMMIT}).encode()
    server.answers["/api/models/clinic/skin/commit/main"] = stand_in.status(200, done)
    assert run(["bundle", "push", str(bundle), "clinic/skin", "--license", "cc-by-4.0"]) == 0
    assert capsys.readouterr().out == f"pushed: {server.url}/clinic/skin\n"
    sent = dict(server.posted)
    assert json.loads(sent["/api/repos/create"])["visibility"] == "private"
    lines = [json.loads(line) for line in sent["/api/models/clinic/skin/commit/main"].splitlines()]
    files = {it["value"]["path"]: base64.b64decode(it["value"]["content"]) for it in lines if it["key"] == "file"}
    assert files["weights.safetensors"] == (bundle / "weights.safetensors").read_bytes()
    assert files["bundle.json"] == (bundle / "bundle.json").read_bytes()
    assert b"license: cc-by-4.0\n" in files["README.md"]


def test_without_a_token_or_a_network_one_sentence_tells_it(server, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"127.0.0.1:9 must be reached. Got .*[Rr]efused.* where there is a network"):
        pull_bundle("clinic/skin", tmp_path / "pulled")
    with pytest.raises(FetchError, match="must be reached"):
        push_bundle(bundle, "clinic/skin")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SpecError, match="Got none in HF_TOKEN"):
        push_bundle(bundle, "clinic/skin")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
