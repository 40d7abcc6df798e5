"""Where data sets lie: MedMNIST's table, and Roboflow's export, which has to be asked for with a key."""

import json
import logging
import zipfile

import pytest
from stand_in import status

from chiron.core.errors import DataError, FetchError, SpecError
from chiron.data.fetch import roboflow
from chiron.data.fetch.download import require_checksum
from chiron.data.fetch.medmnist import MD5, find_medmnist
from chiron.data.fetch.roboflow import find_roboflow, license_in

KEY = "rf_Geheim/42+7"  # with letters that an address must escape
EXPORT = "/hi-l9ueo/ich-s-7lnsj/1/folder"


@pytest.fixture
def api(server, monkeypatch):
    monkeypatch.setattr(roboflow, "POLL_SECONDS", 0.0)
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    monkeypatch.setenv("CHIRON_ROBOFLOW_URL", server.url)
    return server


def said(code, **answer):
    return status(code, json.dumps(answer).encode())


def test_medmnist_names_sizes_and_checksums():
    assert len(MD5) == 12
    assert all(set(sums) == {28, 64, 128, 224} for sums in MD5.values())
    sums = [require_checksum(f"md5:{digest}") for sizes in MD5.values() for digest in sizes.values()]
    assert len(set(sums)) == 48
    small, large = find_medmnist("PneumoniaMNIST"), find_medmnist("dermamnist", img_size=224)
    assert small.url == "https://zenodo.org/records/10519652/files/pneumoniamnist.npz?download=1"
    assert (small.name, small.checksum) == ("pneumoniamnist.npz", "md5:28209eda62fecd6e6a2d98b1501bb15f")
    assert (large.name, large.license) == ("dermamnist_224.npz", "CC BY-NC 4.0")


def test_medmnist_mirror(monkeypatch):
    monkeypatch.setenv("CHIRON_MEDMNIST_URL", "https://mirror.org/medmnist/")
    assert find_medmnist("octmnist", img_size=64).url.startswith("https://mirror.org/medmnist/octmnist_64.npz")


def test_medmnist_mistakes():
    with pytest.raises(SpecError, match="Did you mean 'dermamnist'"):
        find_medmnist("dermanist")
    with pytest.raises(SpecError, match=r"one of 28, 64, 128, 224. Got 32"):
        find_medmnist("dermamnist", img_size=32)


def test_roboflow_waits_for_the_export(api, caplog):
    link = f"{api.url}/ds/abc?key=link"
    api.answers[EXPORT] = [said(202, progress=0), said(202, progress=0.5), said(200, export={"link": link})]
    with caplog.at_level(logging.INFO, logger="chiron.fetch"):
        remote = find_roboflow("hi-l9ueo/ich-s-7lnsj/1")
    assert (remote.url, remote.name) == (link, "ich-s-7lnsj.v1.folder.zip")
    assert caplog.messages == ["Roboflow makes the export: 0 %", "Roboflow makes the export: 50 %"]
    assert {path for path, _ in api.asked} == {f"{EXPORT}?api_key=rf_Geheim%2F42%2B7&nocache=true"}


def test_roboflow_does_not_wait_for_ever(api, monkeypatch):
    monkeypatch.setattr(roboflow, "MAX_WAIT_SECONDS", -1.0)
    api.answers[EXPORT] = said(202, progress=0.1)
    with pytest.raises(FetchError, match="must make the export within"):
        find_roboflow("hi-l9ueo/ich-s-7lnsj/1")


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (status(401), SpecError, "Got code 401. Check that ROBOFLOW_API_KEY holds a private key"),
        (status(404), SpecError, "Got code 404. Check workspace, project and version."),
        (status(400), SpecError, "Got code 400. Check workspace, project, version and --format."),
        (status(500), FetchError, "Got 500"),
        (said(200, version={}), FetchError, "must give a link"),
        (status(200, b"[]"), FetchError, "must give a link"),
        (status(200, b"<html>"), FetchError, "must answer in JSON"),
        (said(200, export={"link": "file:///etc/passwd"}), SpecError, "must start with https"),
    ],
)
def test_roboflow_answers_that_do_not_help(api, answer, error, message):
    api.answers[EXPORT] = answer
    with pytest.raises(error, match=message) as refused:
        find_roboflow("hi-l9ueo/ich-s-7lnsj/1")
    assert "Geheim" not in str(refused.value)


def test_roboflow_key_goes_to_no_other_host(api, other_server):
    key = "api_key=rf_Geheim%2F42%2B7"
    for answer in (
        status(302, Location=f"{other_server.url}/x?{key}"),
        said(200, export={"link": f"{other_server.url}/x?{key}"}),
    ):
        api.answers[EXPORT] = answer
        with pytest.raises(FetchError, match="must stay with its host") as refused:
            find_roboflow("hi-l9ueo/ich-s-7lnsj/1")
        assert "Geheim" not in str(refused.value)
    assert other_server.asked == []


def test_roboflow_without_a_key(api, monkeypatch):
    for key, message in (("", "Got none. Copy the private key"), ("a b", "must hold one word"), ("ä", "one word")):
        monkeypatch.setenv("ROBOFLOW_API_KEY", key)
        with pytest.raises(SpecError, match=message):
            find_roboflow("hi-l9ueo/ich-s-7lnsj/1")
    assert api.asked == []


def test_roboflow_key_travels_encrypted(monkeypatch):
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    monkeypatch.setenv("CHIRON_ROBOFLOW_URL", "http://api.example.org")
    with pytest.raises(SpecError, match="must travel by https"):
        find_roboflow("hi-l9ueo/ich-s-7lnsj/1")


@pytest.mark.parametrize("name", ["ich-s-7lnsj/1", "a/b/c", "a/b/1/folder", "../b/1", "a/b?x=1/1", "https://x/y/1"])
def test_roboflow_names(api, name):
    with pytest.raises(SpecError, match="must be named WORKSPACE/PROJECT/VERSION"):
        find_roboflow(name)
    with pytest.raises(SpecError, match="format must be a word"):
        find_roboflow("a/b/1", export_format="../x")


def test_license_of_an_export(tmp_path):
    path = tmp_path / "a.zip"
    for text, expected in (("Provided by a user\r\nLicense: CC BY 4.0\r\n", "CC BY 4.0"), ("nothing", None)):
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("README.dataset.txt", text)
        assert license_in(path) == expected
    path.write_bytes(b"License: mine")
    assert license_in(path) is None
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("README.roboflow.txt", "License: changed")
    path.write_bytes(path.read_bytes().replace(b"License: changed", b"License: CHANGED", 1))
    with pytest.raises(DataError, match="must be a complete zip"):
        license_in(path)
