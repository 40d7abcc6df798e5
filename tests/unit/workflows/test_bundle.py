"""chiron bundle: what is shown, what is refused, one file, the card."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
import yaml
from bundles import PAIR, classifier_of

import chiron
from chiron.bundle_files import BUNDLE_FILES
from chiron.cli.main import run
from chiron.core.errors import BundleError
from chiron.core.hashing import sha256_json
from chiron.workflows.bundle import pack_bundle, verify_bundle, write_card


@pytest.fixture
def bundle(tmp_path):
    classifier_of(labels=PAIR).save(tmp_path / "bundle")
    return tmp_path / "bundle"


def torch_file() -> bytes:
    stream = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, stream)
    return stream.getvalue()


def object_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def test_show_tells_what_it_is_for(bundle, capsys):
    assert run(["bundle", "show", str(bundle)]) == 0
    told = capsys.readouterr().out
    for line in ("network: chiron_fair_cnn_nano", "classes: a, b (positive: b)", "not a medical device"):
        assert line in told
    assert run(["bundle", "show", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"]["names"] == ["a", "b"]


def test_a_whole_bundle_is_verified(bundle, capsys):
    assert [check.name for check in verify_bundle(bundle)] == [
        *("data alone", "no other files", "checksums", "loads", "answers"),
    ]
    assert run(["bundle", "verify", str(bundle), "--json"]) == 0
    assert all(check["holds"] for check in json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", pickle.dumps({"a": 1})),
        ("old/model.dat", torch_file()),
        ("stats", object_array()),
        ("model.pkl", pickle.dumps({"a": 1}, protocol=0)),
        ("weights.safetensors", pickle.dumps({"a": 1})),
    ],
)
def test_a_pickle_inside_is_refused(bundle, name, content, capsys):
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"must hold data alone. Got {name}"):
        chiron.load(bundle)
    assert run(["bundle", "verify", str(bundle)]) == 1
    assert "run code" in capsys.readouterr().out


def test_a_pickle_in_a_zip_is_refused(bundle, tmp_path):
    packed = pack_bundle(bundle, tmp_path / "b.zip")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("extra", pickle.dumps({"a": 1}))
    with pytest.raises(BundleError, match="must hold data alone"):
        chiron.load(packed)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_every_byte_counts(bundle, name):
    content = (bundle / name).read_bytes()
    for place in range(0, len(content), max(1, len(content) // 15)):
        changed = bytearray(content)
        changed[place] ^= 1
        (bundle / name).write_bytes(changed)
        if name == "bundle.json" and _same(content, changed):
            continue
        with pytest.raises(BundleError):
            chiron.load(bundle)


def _same(first: bytes, second: bytes) -> bool:
    try:
        return json.loads(first) == json.loads(second)
    except ValueError:
        return False


def test_other_files_and_other_networks_do_not_verify(bundle):
    (bundle / "figure.png").write_bytes(b"\x89PNG")
    assert "Got figure.png" in verify_bundle(bundle)[-1].problem
    (bundle / "figure.png").unlink()
    content = json.loads((bundle / "bundle.json").read_text())
    content["network"]["name"] = "chiron_h_coatnet_nano"
    content.pop("sha256")
    (bundle / "bundle.json").write_text(json.dumps(content | {"sha256": sha256_json(content)}))
    failed = verify_bundle(bundle)[-1]
    assert failed.name == "loads"
    assert "must fit its network" in failed.problem


def test_one_file_is_used_as_the_folder_is(bundle, tmp_path, random, capsys):
    image = random.integers(0, 256, (40, 50), dtype=np.uint8)
    packed = pack_bundle(bundle, tmp_path / "b.zip")
    assert chiron.load(packed).predict(image) == chiron.load(bundle).predict(image)
    assert packed.read_bytes() == pack_bundle(bundle, tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(packed) as archive:
        assert set(archive.namelist()) <= set(BUNDLE_FILES)
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    changed = bytearray(packed.read_bytes())
    changed[len(changed) // 2] ^= 1
    packed.write_bytes(changed)
    with pytest.raises(BundleError):
        chiron.load(packed)
    assert run(["bundle", "pack", str(bundle), "--out", str(tmp_path / "again.zip")]) == 2
    assert run(["bundle", "pack", str(bundle), "--out", str(tmp_path / "b.tar")]) == 2
    assert "must be named .zip" in capsys.readouterr().err


def test_the_card_begins_as_the_hub_wants_it(bundle, capsys):
    front = yaml.safe_load((bundle / "README.md").read_text().split("---\n")[1])
    assert front["license"] == "unknown"
    assert front["library_name"] == "chiron"
    assert front["pipeline_tag"] == "image-classification"
    before = chiron.load(bundle).bundle_id
    card = write_card(bundle, license="cc-by-4.0", write=True)
    assert "license: cc-by-4.0\n" in card
    assert (bundle / "README.md").read_text() == card
    assert chiron.load(bundle).bundle_id == before
    assert run(["bundle", "card", str(bundle)]) == 0
    assert f"({before})" in capsys.readouterr().out
