"""Names planted wherever a name can stand: none may come out, but in the one local file of a strict project."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dicom_files import dicom_bytes, dicom_dataset
from PIL import Image, PngImagePlugin

from chiron.cli.main import run

PLANTED = {
    "folder": "Rosalind E. (1)",
    "file": "O'Brien, Franklin",
    "exif": "Hodgkin",
    "png_text": "Lonsdale",
    "column": "Perutz",
    "patient": "Kendrew",
    "root": "Pauling",
}


def pixels(k: int) -> np.ndarray:
    random = np.random.default_rng(k)
    image = random.integers(0, 120, (40, 40), dtype=np.uint8)
    if k % 2 == 0:
        image[8:20, 8:20] += 100
    return image


@pytest.fixture
def data(tmp_path) -> Path:
    """40 images of 20 patients, with a table; names stand in the root, a folder, files, EXIF, PNG text and columns."""
    root = tmp_path / f"of {PLANTED['root']}"
    folder = root / PLANTED["folder"]
    folder.mkdir(parents=True)
    rows = []
    for k in range(40):
        name = f"{PLANTED['file']}-{k}.{'png' if k % 3 else 'jpg'}"
        image = Image.fromarray(pixels(k))
        if k % 3:
            text = PngImagePlugin.PngInfo()
            text.add_text("Patient", PLANTED["png_text"])
            image.save(folder / name, pnginfo=text)
        else:
            exif = image.getexif()
            exif[0x013B] = PLANTED["exif"]  # artist
            image.save(folder / name, exif=exif, quality=95)
        label = ("sick", "well")[k % 2]
        if k == 39:
            (folder / name).write_bytes(b"broken")  # its name stands in notes and reasons
        rows.append((f"{PLANTED['folder']}/{name}", label, f"{PLANTED['patient']}{k // 2}", PLANTED["column"], 40 + k))
    frame = pl.DataFrame(rows, schema=["path", "label", "patient_id", "remark", "age"], orient="row")
    frame.write_csv(root / "labels.csv")
    return root


@pytest.fixture
def dicom(tmp_path) -> Path:
    """40 DICOM files whose names, tags and private tags hold names; patients stand in the header alone."""
    root = tmp_path / f"of {PLANTED['root']}"
    for k in range(40):
        file = root / ("sick", "well")[k % 2] / PLANTED["folder"] / f"{PLANTED['file']}-{k}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        dataset = dicom_dataset(pixels(k))
        dataset.PatientID = f"{PLANTED['patient']}{k // 4}"
        dataset.PatientName = PLANTED["column"]
        dataset.InstitutionName = PLANTED["exif"]
        block = dataset.private_block(0x0011, PLANTED["png_text"], create=True)
        block.add_new(0x01, "LO", PLANTED["png_text"])
        file.write_bytes(dicom_bytes(dataset))
    return root


def found_in(text: str) -> list[str]:
    return [where for where, name in PLANTED.items() if name.lower() in text.lower()]


def found_under(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """File -> which planted names its bytes hold; names of files count too."""
    found = {}
    for file in sorted(folder.rglob("*")):
        held = found_in(str(file.relative_to(folder)))
        if file.is_file() and file.name not in without:
            held += found_in(file.read_bytes().decode("latin-1"))
        if held:
            found[str(file.relative_to(folder))] = held
    return found


def train_and_report(tiny_recipe, data: Path, project: Path, capfd, *options: str) -> str:
    """A training with a test set scored, its shareable report, and an evaluation of the bundle; what was printed."""
    arguments = ["train", str(tiny_recipe), "--data", str(data), "--out", str(project / "run"), "--device", "cpu"]
    arguments += ["--set", "data.unreadable=exclude"]
    assert run([*arguments, "--score-test", *options]) == 0
    assert run(["report", str(project / "run"), "--shareable"]) == 0
    told = capfd.readouterr()
    return told.out + told.err


def test_strict_keeps_names_in_one_local_file(tiny_recipe, data, tmp_path, capfd):
    project = tmp_path / "project"
    told = train_and_report(tiny_recipe, data / "labels.csv", project, capfd, "--set", "data.privacy=strict")
    assert found_under(project, without=("local_names.csv",)) == {}
    assert found_in(told) == []
    names = (project / "local_names.csv").read_text()
    assert {"folder", "file", "root"} <= set(found_in(names))
    assert (project / "local_names.csv").stat().st_mode & 0o077 == 0
    manifest = pl.read_csv(project / "run" / "manifest.csv", infer_schema=False)
    assert "age" in manifest.columns  # has a role
    assert "remark" not in manifest.columns
    assert manifest["patient_id"].n_unique() == 20
    # everything still works from the hashes alone
    assert run(["evaluate", str(project / "run"), "--split", "val"]) == 0
    assert run(["evaluate", str(project / "run"), "--split", "test"]) == 0
    assert run(["train", "--resume", "--out", str(project / "run"), "--device", "cpu"]) == 0


def test_dicom_is_strict_by_itself(tiny_recipe, dicom, tmp_path, capfd):
    project = tmp_path / "project"
    told = train_and_report(tiny_recipe, dicom, project, capfd)
    assert found_under(project, without=("local_names.csv",)) == {}
    assert found_in(told) == []
    manifest = pl.read_csv(project / "run" / "manifest.csv", infer_schema=False)
    assert manifest["patient_id"].n_unique() == 10
    for group in manifest.partition_by("patient_id"):
        assert group["split"].n_unique() == 1
    assert run(["predict", str(project / "run"), str(dicom), "--out", str(project / "p.csv"), "--device", "cpu"]) == 0
    assert found_under(project, without=("local_names.csv",)) == {}
    assert pl.read_csv(project / "p.csv")["sample_id"].str.starts_with("s-").all()


def test_a_table_by_hand_over_dicom_gets_its_patients(dicom, tmp_path):
    """Without a manifest.json the headers are read, and names are kept out as well."""
    files = sorted(dicom.rglob("*.dcm"))
    rows = [(file.stem, str(file.relative_to(dicom)), file.parts[-3]) for file in files]
    pl.DataFrame(rows, schema=["sample_id", "path", "label"], orient="row").write_csv(dicom / "labels.csv")
    assert run(["data", "split", str(dicom / "labels.csv"), "--out", str(tmp_path / "project" / "out")]) == 0
    assert found_under(tmp_path / "project", without=("local_names.csv",)) == {}
    frame = pl.read_csv(tmp_path / "project" / "out" / "manifest.csv", infer_schema=False)
    assert frame["patient_id"].n_unique() == 10
    assert frame["group_id"].n_unique() == 10


def test_images_that_moved_are_told_as_moved(data, tmp_path, capfd):
    out = tmp_path / "project" / "out"
    assert run(["data", "split", str(data / "labels.csv"), "--out", str(out), "--privacy", "strict"]) == 0
    data.rename(data.with_name("elsewhere"))
    assert run(["data", "inspect", str(out)]) == 2
    told = capfd.readouterr().err
    assert "must be where" in told
    assert "local_names.csv says. Got 39 of 39 that are not" in told


def test_what_leaves_an_open_project_holds_no_names(tiny_recipe, data, tmp_path, capfd):
    project = tmp_path / "project"
    told = train_and_report(tiny_recipe, data / "labels.csv", project, capfd, "--set", "data.privacy=project")
    assert "file" in found_in((project / "run" / "manifest.csv").read_text())  # so that people find their images
    assert found_under(project / "run" / "bundle") == {}
    assert found_in((project / "run" / "report-shareable.html").read_text()) == []
    assert found_in(told) == []


@pytest.mark.parametrize("verb", ["split", "audit", "evaluate"])
def test_every_folder_of_a_strict_project(tiny_recipe, data, tmp_path, capfd, verb):
    project = tmp_path / "project"
    table, out = str(data / "labels.csv"), str(project / "out")
    if verb == "evaluate":
        bundle = tmp_path / "elsewhere"
        train_and_report(tiny_recipe, data / "labels.csv", bundle, capfd)
        arguments = ["evaluate", str(bundle / "run" / "bundle"), "--data", table, "--out", out]
    else:
        arguments = ["data", verb, table, "--out", out]
    assert run([*arguments, "--privacy", "strict"]) in (0, 1)
    assert found_under(project, without=("local_names.csv",)) == {}
    if verb == "split":
        capfd.readouterr()
        told = train_and_report(tiny_recipe, Path(out), project, capfd)
        assert found_under(project, without=("local_names.csv",)) == {}
        assert found_in(told) == []
