"""`chiron data audit` from the command line: what it finds, what it writes, and how it ends."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chiron.cli.main import run


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    """Chests with a marker that follows the class, a copy, a blank image and a broken one; splits that leak."""
    folder = tmp_path_factory.mktemp("audit") / "made"
    made = ["data", "make", "phantom-cxr", "--count", "140", "--img-size", "96", "--shortcut", "corner_marker"]
    assert run([*made, "--out", str(folder), "-q"]) == 0
    frame = pl.read_csv(folder / "manifest.csv", infer_schema=False)
    first, second = frame["path"][0], frame["path"][1]
    Image.open(folder / first).convert("L").resize((80, 80), Image.Resampling.LANCZOS).save(
        folder / "copy.jpg", quality=80
    )
    Image.fromarray(np.zeros((96, 96), np.uint8)).save(folder / "blank.png")
    (folder / "broken.png").write_bytes(b"no picture")
    shutil.copy(folder / second, folder / "twin.png")
    label = frame["label"]
    other = next(name for name in label.unique() if name != label[1])
    rows = pl.DataFrame(
        {
            "sample_id": ["copy", "blank", "broken", "twin"],
            "path": ["copy.jpg", "blank.png", "broken.png", "twin.png"],
            "label": [label[0], label[0], label[0], other],
        }
    )
    kept = frame.select("sample_id", "patient_id", "path", "label")
    table = pl.concat([kept, rows], how="diagonal")
    split = ["train"] * 100 + ["test"] * 44
    table.with_columns(pl.Series("split", split)).write_csv(folder / "manifest.csv")
    return folder


@pytest.fixture(scope="module")
def audited(phantoms, tmp_path_factory) -> tuple[int, Path, dict]:
    out = tmp_path_factory.mktemp("out") / "audit"
    code = run(["data", "audit", str(phantoms), "--html", "--out", str(out), "-q"])
    return code, out, json.loads((out / "audit.json").read_text(encoding="utf-8"))


def test_what_stops_a_training_is_told(audited):
    code, _, found = audited
    assert code == 1
    assert found["stops_training"]
    kinds = {leak["kind"] for leak in found["leaks"]["leaks"]}
    assert {"copy", "same pixels"} & kinds
    assert len(found["label_conflicts"]) == 1  # the twin
    assert "twin" in found["label_conflicts"][0]


def test_copies_quality_and_shortcuts_are_found(audited):
    _, _, found = audited
    confirmed = {frozenset(pair["sample_ids"]) for pair in found["copies"]["confirmed"]}
    assert any("copy" in pair for pair in confirmed)
    assert "blank" in found["quality"]["flags"]["blank"]
    assert found["quality"]["flags"]["broken"] == ["unreadable"]
    assert any("corner" in alarm for alarm in found["shortcuts"]["alarms"])
    assert found["fingerprint"]["num_unreadable"] == 1
    assert found["proposed_recipe"]["recipe"]["data"]["unreadable"] == "exclude"


def test_files_can_be_gone_on_with(audited, tmp_path):
    _, out, _ = audited
    manifest = pl.read_csv(out / "manifest.csv", infer_schema=False)
    assert manifest.filter(pl.col("sample_id") == "blank")["quality"][0].startswith("blank")
    assert pl.read_csv(out / "duplicates.csv").columns[-1] == "verdict"
    assert run(["check", str(out / "recipe.yaml")]) == 0


def test_the_page_shows_pictures_and_needs_nothing_else(audited):
    _, out, _ = audited
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") > 4
    assert "stops training" in page
    assert "Research use only" in page
    for outside in ("http://", "https://", "<script"):
        assert outside not in page


def test_an_audit_of_npz_keeps_names_private(tmp_path):
    made = ["data", "make", "phantom-cxr", "--count", "60", "--img-size", "32", "--layout", "medmnist", "-q"]
    assert run([*made, "--out", str(tmp_path / "made")]) == 0
    npz = next((tmp_path / "made").glob("*.npz"))
    out = tmp_path / "project" / "audit"
    assert run(["data", "audit", str(npz), "--privacy", "strict", "--html", "--out", str(out), "-q"]) == 0
    found = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert found["fingerprint"]["num_unreadable"] == 0


def test_a_set_without_any_readable_image(tmp_path, capsys):
    for label in ("a", "b"):
        (tmp_path / "d" / label).mkdir(parents=True)
        for k in range(3):
            (tmp_path / "d" / label / f"{label}{k}.png").write_bytes(b"no picture")
    assert run(["data", "audit", str(tmp_path / "d"), "--html", "--out", str(tmp_path / "o"), "-q"]) in (0, 1)
    assert (tmp_path / "o" / "audit.html").is_file()
    assert "should not happen" not in capsys.readouterr().err


def test_strict_stops_at_alarms(tmp_path):
    for k in range(30):
        place = tmp_path / "d" / ("a", "b")[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(k)
        mode = "RGB" if k % 2 else "L"
        Image.fromarray(random.integers(0, 256, (70, 70), dtype=np.uint8)).convert(mode).save(place / f"{k}.png")
    assert run(["data", "audit", str(tmp_path / "d"), "-q"]) == 0
    assert run(["data", "audit", str(tmp_path / "d"), "--strict", "-q"]) == 1  # the color mode is the class


def test_an_audit_looks_at_images(tmp_path, class_folders, capsys):
    assert run(["data", "audit", str(class_folders), "--out", str(class_folders / "inside")]) == 2
    assert "must lie outside the images" in capsys.readouterr().err


def test_images_that_cannot_be_read_stop_a_training_and_are_named(tmp_path, capsys):
    for name in ("sick", "well"):
        (tmp_path / name).mkdir()
        for k in range(8):
            pixels = np.random.default_rng([k, name == "sick"]).integers(0, 255, (64, 64), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    assert run(["data", "audit", str(tmp_path), "-q"]) == 0
    (tmp_path / "sick" / "3.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert run(["data", "audit", str(tmp_path), "-q"]) == 1
    out = capsys.readouterr().out.replace("\xa0", " ")
    assert "STOPS  1 image cannot be read: training stops without data.unreadable=exclude." in out
    assert "unreadable: sick/3.png" in out
    assert run(["data", "inspect", str(tmp_path), "-q"]) == 1
    assert "--set data.unreadable=exclude" in capsys.readouterr().out
