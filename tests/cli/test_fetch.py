"""`chiron data fetch` from a server of this machine to a data set that `inspect` reads; a key is never seen again."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from stand_in import file, stand_in, status

from chiron.cli.main import run
from chiron.data.fetch import http, medmnist, roboflow

KEY = "rf_Geheim42"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(http, "PAUSES_SECONDS", (0.0,))
    monkeypatch.setattr(roboflow, "POLL_SECONDS", 0.0)
    with stand_in() as started:
        monkeypatch.setenv("CHIRON_MEDMNIST_URL", f"{started.url}/medmnist")
        monkeypatch.setenv("CHIRON_ROBOFLOW_URL", started.url)
        monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
        yield started


@pytest.fixture
def call(capsys):
    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        assert run(["data", *(str(argument) for argument in arguments)]) == code
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return shown.out, shown.err

    return call


@pytest.fixture
def pneumonia() -> bytes:
    random, packed = np.random.default_rng(0), io.BytesIO()
    splits = {"train": 20, "val": 6, "test": 6}
    arrays = {f"{split}_images": random.integers(0, 256, (n, 28, 28), dtype=np.uint8) for split, n in splits.items()}
    arrays |= {f"{split}_labels": np.arange(n, dtype=np.uint8)[:, None] % 2 for split, n in splits.items()}
    np.savez(packed, **arrays)
    return packed.getvalue()


def packed_folders(class_folders) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writer:
        writer.writestr("README.dataset.txt", "License: CC BY 4.0\n")
        for k, path in enumerate(sorted(class_folders.rglob("*.png"))):
            split = ("train", "train", "valid", "test")[k // 2 % 4]
            writer.write(path, f"{split}/{path.parent.name}/{path.stem}_png.rf.{k:032x}.png")
    return packed.getvalue()


def test_medmnist_from_fetch_to_inspect(server, call, tmp_path, monkeypatch, pneumonia):
    md5 = hashlib.md5(pneumonia).hexdigest()
    monkeypatch.setitem(medmnist.MD5, "pneumoniamnist", {28: md5, 64: md5})
    server.answers["/medmnist/pneumoniamnist.npz"] = file(pneumonia, stop_after=5000)  # breaks, and goes on
    out, _ = call("fetch", "medmnist", "pneumoniamnist", "--out", tmp_path / "m", "-q")
    path = tmp_path / "m" / "pneumoniamnist.npz"
    assert out.splitlines()[1:] == [
        f"sha256 {hashlib.sha256(pneumonia).hexdigest()} (checked by md5)",
        "license: CC BY 4.0",
        f"data: {path}",
    ]
    described = json.loads(call("inspect", path, "--json", "-q")[0])
    assert (described["reader"], described["num_images"], described["classes"]) == (
        "medmnist",
        32,
        ["normal", "pneumonia"],
    )
    noted = json.loads((tmp_path / "m" / "fetched.json").read_text())["pneumoniamnist.npz"]
    assert (noted["verified"], noted["num_bytes"]) == (f"md5:{md5}", len(pneumonia))
    assert noted["source"] == "MedMNIST pneumoniamnist, 28 px, doi:10.5281/zenodo.10519652"

    server.asked.clear()
    assert "here already" in call("fetch", "medmnist", "pneumoniamnist", "--out", tmp_path / "m")[1]
    assert server.asked == []
    server.answers["/medmnist/pneumoniamnist_64.npz"] = file(pneumonia)
    call("fetch", "medmnist", "pneumoniamnist", "--size", 64, "--out", tmp_path / "m", "-q")
    assert set(json.loads((tmp_path / "m" / "fetched.json").read_text())) == {path.name, "pneumoniamnist_64.npz"}


def test_medmnist_mirror_with_other_bytes(server, call, tmp_path, pneumonia):
    server.answers["/medmnist/pneumoniamnist.npz"] = file(pneumonia)
    _, err = call("fetch", "medmnist", "pneumoniamnist", "--out", tmp_path / "m", code=3)
    assert "must have md5 28209eda62fecd6e6a2d98b1501bb15f" in err
    assert os.listdir(tmp_path / "m") == []


@pytest.mark.parametrize("unpack", [False, True])
def test_roboflow_from_fetch_to_inspect(server, call, tmp_path, class_folders, unpack):
    content = packed_folders(class_folders)
    storage = f"{server.url}/storage/export?signature=hidden"
    link = json.dumps({"export": {"link": f"{server.url}/ds/x?key=hidden"}}).encode()
    server.answers["/hi-l9ueo/ich-s-7lnsj/1/folder"] = [status(202, b'{"progress": 0.5}'), status(200, link)]
    server.answers["/ds/x"] = status(302, Location=storage)
    server.answers["/storage/export"] = [file(content, stop_after=1000), file(content)]
    out_folder = tmp_path / "r"
    arguments = ["fetch", "roboflow", "hi-l9ueo/ich-s-7lnsj/1", "--out", out_folder, *["--unpack"] * unpack]
    out, err = call(*arguments, "--json")
    fetched = json.loads(out)
    assert (fetched["license"], fetched["source"]) == ("CC BY 4.0", "Roboflow hi-l9ueo/ich-s-7lnsj/1, format folder")
    assert sorted(os.listdir(out_folder)) == [
        "fetched.json",
        "ich-s-7lnsj.v1.folder" if unpack else "ich-s-7lnsj.v1.folder.zip",
    ]
    assert "Roboflow makes the export: 50 %" in err
    described = json.loads(call("inspect", fetched["path"], "--json", "-q")[0])
    assert (described["reader"], described["num_images"]) == ("roboflow", 40)

    for secret in (KEY, "hidden"):
        assert secret not in out + err + (out_folder / "fetched.json").read_text()
    assert any(KEY in path for path, _ in server.asked)  # the API did get it
    assert not [path for path, _ in server.asked if KEY in path and not path.startswith("/hi-l9ueo/")]
    assert "add --force" in call(*arguments, code=2)[1]
    call(*arguments, "--force", "-q")


@pytest.mark.parametrize("code", [401, 404, 500])
def test_key_is_not_in_messages(server, call, tmp_path, code):
    server.answers["/a/b/1/folder"] = status(code, f"wrong key {KEY}".encode())
    out, err = call("fetch", "roboflow", "a/b/1", "--out", tmp_path, code=3 if code == 500 else 2)
    assert f"Got {code}" in err or f"Got code {code}" in err
    assert KEY not in out + err
    assert os.listdir(tmp_path) == []


def test_key_is_not_in_tracebacks(server, tmp_path):
    server.answers["/a/b/1/folder"] = status(401, f"wrong key {KEY}".encode())
    arguments = ["data", "fetch", "roboflow", "a/b/1", "--out", str(tmp_path), "--debug"]
    done = subprocess.run([sys.executable, "-m", "chiron.cli.main", *arguments], capture_output=True, text=True)
    assert "Traceback" in done.stderr
    assert "Got code 401" in done.stderr
    assert KEY not in done.stdout + done.stderr


def test_url_of_a_tar_is_unpacked_and_a_zip_is_kept(server, call, tmp_path, class_folders):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path in sorted(class_folders.rglob("*.png")):
            tar.add(path, f"{path.parent.name}/{path.name}")
    server.answers["/d/skin%20set.tar.gz"] = file(packed.getvalue())
    server.answers["/d/skin.zip"] = file(packed_folders(class_folders))
    sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
    url = f"{server.url}/d/skin%20set.tar.gz?token=hidden"
    out, err = call("fetch", "url", url, "--out", tmp_path / "u", "--sha256", sha256)
    assert out.splitlines()[-1] == f"data: {tmp_path / 'u' / 'skin set'}"
    assert json.loads(call("inspect", tmp_path / "u" / "skin set", "--json", "-q")[0])["num_images"] == 40
    assert "hidden" not in out + err + (tmp_path / "u" / "fetched.json").read_text()
    out, _ = call("fetch", "url", f"{server.url}/d/skin.zip", "--out", tmp_path / "u", "--name", "other.zip")
    assert "(not checked)" in out
    assert json.loads(call("inspect", tmp_path / "u" / "other.zip", "--json", "-q")[0])["num_images"] == 40
    assert sorted(os.listdir(tmp_path / "u")) == ["fetched.json", "other.zip", "skin set"]


@pytest.mark.parametrize("top", ["set/", "train/"])
def test_unpacked_folder_is_read_from_inside_its_top(server, call, tmp_path, class_folders, top):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writer:
        for path in sorted(class_folders.rglob("*.png")):
            writer.write(path, f"{top}{path.parent.name}/{path.name}")
    server.answers["/a.zip"] = file(packed.getvalue())
    for place, arguments in (("kept", []), ("out", ["--unpack"])):
        out, _ = call("fetch", "url", f"{server.url}/a.zip", "--out", tmp_path / place, "--json", *arguments)
        path = json.loads(out)["path"]
        assert json.loads(call("inspect", path, "--json", "-q", "--reader", "class_folders")[0])["num_images"] == 40
    assert path == str(tmp_path / "out" / "a" / ("set" if top == "set/" else ""))


def test_force_replaces_only_what_was_fetched(server, call, tmp_path, class_folders):
    server.answers["/a.zip"] = file(packed_folders(class_folders))
    (tmp_path / "u" / "a").mkdir(parents=True)
    (tmp_path / "u" / "a" / "thesis.txt").write_text("mine")
    arguments = ["fetch", "url", f"{server.url}/a.zip", "--out", tmp_path / "u", "--unpack"]
    assert "must not exist yet" in call(*arguments, code=2)[1]
    assert "replaces only what was fetched" in call(*arguments, "--force", code=2)[1]
    assert (tmp_path / "u" / "a" / "thesis.txt").read_text() == "mine"
    assert server.asked == []


def test_page_instead_of_the_file(server, call, tmp_path):
    server.answers["/a.zip"] = file(b"<!doctype html><html>Please log in</html>")
    _, err = call("fetch", "url", f"{server.url}/a.zip", "--out", tmp_path / "u", code=3)
    assert "must be a zip file. Got a web page" in err
    assert os.listdir(tmp_path / "u") == []


def test_archive_that_leads_outside(server, call, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writer:
        writer.writestr("../../out.txt", "x")
    server.answers["/a.zip"] = file(packed.getvalue())
    _, err = call("fetch", "url", f"{server.url}/a.zip", "--out", tmp_path / "u", "--unpack", code=2)
    assert "must stay inside" in err
    assert os.listdir(tmp_path / "u") == ["a.zip"]
    assert not (tmp_path / "out.txt").exists()


def test_mistakes_of_a_person(server, call, tmp_path):
    def told(*arguments):
        return call("fetch", *arguments, "--out", tmp_path / "u", code=2)[1]

    url = f"{server.url}/a.zip"
    assert "One checksum is enough" in told("url", url, "--sha256", "0" * 64, "--md5", "0" * 32)
    assert "must be sha256: and 64" in told("url", url, "--sha256", "0")
    assert "Give it one with --name" in told("url", server.url)
    assert "Give it one with --name" in told("url", f"{server.url}/..%2f..%2fpasswd")
    assert "can be unpacked" in told("url", f"{server.url}/a.csv", "--unpack")
    server.answers["/a.zip"] = file(bytes(2000))
    assert "must be at most 1 kB" in told("url", url, "--max-gb", "1e-6")
    (tmp_path / "u").mkdir(exist_ok=True)
    (tmp_path / "u" / "fetched.json").write_text("mine")
    assert "Move it away" in told("url", url)


def test_offline_is_one_sentence_with_exit_code_3(call, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("CHIRON_MEDMNIST_URL", closed)
    monkeypatch.setenv("CHIRON_ROBOFLOW_URL", closed)
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    for arguments in (["medmnist", "octmnist"], ["roboflow", "a/b/1"], ["url", f"{closed}/a.zip"]):
        _, err = call("fetch", *arguments, "--out", tmp_path / "u", code=3)
        assert len(err.splitlines()) == 1
        assert "chiron: The network must reach 127.0.0.1. Got: connection refused. Check the connection" in err
        assert "give the file to --data." in err
        assert KEY not in err
