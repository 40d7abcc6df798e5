"""What `chiron predict` prints, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from small_bundles import pictures, small_bundle

import chiron
from chiron.bundle import write_experience
from chiron.cli.main import run
from chiron.spec.experience import ClassOutcome, Experience, Share


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def images(tmp_path):
    """One image as the bundle knows them, and one of noise."""
    Image.fromarray(pictures(1)[0, ..., 0]).save(tmp_path / "known.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return [str(tmp_path / "known.png"), str(tmp_path / "noise.png")]


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_an_image_out_of_scope_gets_no_probability_until_the_user_insists(bundle, images, capsys):
    assert run(["predict", str(bundle), *images, "-q", "--device", "cpu"]) == 0
    header, known, noise, disclaimer = lines(capsys)
    assert header.split("  ")[-1].strip() == "a person must decide"
    assert "out of scope" not in known
    assert " 0." in known
    assert "out of scope" in noise
    assert " 0." not in noise
    assert "out of the bundle's scope: less like the training images than all of the images" in noise
    assert "not a medical device" in disclaimer
    assert run(["predict", str(bundle), *images, "-q", "--insist", "--device", "cpu"]) == 0
    assert " 0." in lines(capsys)[2]


def test_a_table_is_told_with_how_many_are_out_of_scope(bundle, images, tmp_path, capsys):
    for given, told in (
        (images, "2 of 2 images predicted, 1 of them out of scope"),
        (images[:1], "1 of 1 images predicted"),
    ):
        out = tmp_path / f"{len(given)}.csv"
        assert run(["predict", str(bundle), *given, "--out", str(out), "-q", "--device", "cpu"]) == 0
        assert lines(capsys) == [f"{told}: {out}"]


def test_how_often_such_outputs_were_right_is_told_once_and_not_of_images_out_of_scope(tmp_path, images, capsys):
    bundle = small_bundle(tmp_path / "b")
    right = Share(count=8, total=10, low=0.49, high=0.94)
    kept = Experience(
        split="test",
        unit="image",
        num_units=30,
        num_groups=30,
        population="adults",
        classes=tuple(
            ClassOutcome(class_name=name, from_confidence=0.0, to_confidence=1.0, right=right) for name in "abc"
        ),
        answers=(),
        created="2026-01-01T00:00:00+00:00",
        chiron_version="0",
    )
    write_experience(bundle, chiron.load(bundle).bundle_id, kept)
    known, noise = images
    assert run(["predict", str(bundle), known, known, noise, "-q", "--device", "cpu"]) == 0
    *_, place, words, disclaimer = lines(capsys)
    assert place == "How often such outputs were right (test split, 30 images: adults):"
    assert words.startswith("  of 10 test cases named ")
    assert words.endswith(", 8 had it (49% to 94%).")
    assert "not a medical device" in disclaimer
    assert run(["predict", str(bundle), known, noise, "-q", "--json", "--device", "cpu"]) == 0
    said, outside = json.loads(capsys.readouterr().out)
    assert [(it["right"], it["of"]) for it in said["experience"]] == [(8, 10)]
    assert outside["experience"] == []
    (tmp_path / "unit").mkdir()
    shutil.copy(known, tmp_path / "unit")
    command = ["predict", str(bundle), str(tmp_path / "unit"), "--by", "folder", "-q", "--device", "cpu"]
    assert run(command) == 0
    assert sum("8 had it" in line for line in lines(capsys)) == 1
    assert run([*command, "--json"]) == 0
    unit = json.loads(capsys.readouterr().out)[0]
    assert (len(unit["experience"]), unit["images"][0]["experience"]) == (1, [])


def test_json_tells_all_of_it(bundle, images, capsys):
    command = ["predict", str(bundle), *images, "-q", "--json", "--top-k", "2", "--tta", "dihedral", "--device", "cpu"]
    assert run(command) == 0
    known, noise = json.loads(capsys.readouterr().out)
    assert (known["scope"]["in_scope"], noise["scope"]["in_scope"]) == (True, False)
    assert noise["referral"]["refer"]
    assert len(noise["top_k_predictions"]) == 2
    assert set(noise["scope"]) == {"distance", "percentile", "limit", "problems", "in_scope"}


def test_several_bundles_tell_the_spread_of_their_networks(bundle, images, tmp_path, capsys):
    other = small_bundle(tmp_path / "other", seed=9)
    assert run(["predict", str(bundle), images[0], "--with", str(other), "-q", "--json", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)[0]
    for name, (low, high) in said["spread"].items():
        assert low < said["probabilities"][name] < high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume goes on with a table of images. Got no --out. Leave it out."),
        (["--resume", "--out", "t.csv", "--by", "folder"], "Got --by. Leave it out."),
        (["--out", "t.txt"], "A table must be called *.csv, *.jsonl, *.parquet. Got t.txt. Change --out."),
        (["--table", "t.csv"], "Got --table without --by. Add --by COLUMN."),
    ],
)
def test_options_that_do_not_fit_are_refused(bundle, images, options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["predict", str(bundle), *images, *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("t.*"))


def test_a_table_is_resumed_and_the_count_is_of_all(bundle, images, tmp_path, capsys):
    command = ["predict", str(bundle), *images, "--out", str(tmp_path / "t.jsonl"), "--resume", "--device", "cpu"]
    for _ in range(2):
        assert run(command) == 0
        assert lines(capsys) == [f"2 of 2 images predicted: {tmp_path / 't.jsonl'}"]
    assert (tmp_path / "t.jsonl").read_bytes().count(b"\n") == 2
