"""Pages under docs/: their commands run on phantoms as written, links lead somewhere, lists are complete."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from chiron.cli.main import run
from chiron.core.registry import leaf_names
from chiron.data.columns import COLUMN_NAMES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# Shapes are checked by the tests of the parts; here the checks would take longer than the commands.
pytestmark = pytest.mark.usefixtures("unchecked")


def typed(page: str) -> list[list[str]]:
    """The words of every line of a page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line]


def commands(page: str) -> list[list[str]]:
    return [words[1:] for words in typed(page) if words[0] == "chiron"]


# One epoch on images as small as the phantoms shows that a command works; what it learns is of no interest.
SHORT = {
    "train": [f"--set={key}" for key in ("train.epochs=1", "train.warmup_epochs=0", "input.img_size=48")]
    + ["--threads=1", "-q"],
    "sweep": ["-q"],
    "study": ["-q"],
}


def run_small(arguments: list[str]) -> int:
    return run([*arguments, *SHORT.get(arguments[0], [])])


def write_yaml_blocks(page: str, folder: Path) -> None:
    """The files that a page shows, with one epoch instead of two."""
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        (folder / name).write_text(re.sub(r"(epochs[=:] ?)2", r"\g<1>1", text), encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_found_from_the_readme():
    found, left = set(), [DOCS.parent / "README.md"]
    while left:
        page = left.pop()
        targets = re.findall(r"\]\(([^)#]+\.md)[^)]*\)", page.read_text(encoding="utf-8"))
        new = {(page.parent / target).resolve() for target in targets if "://" not in target} - found
        found |= new
        left += new
    assert set(PAGES) <= found


def test_the_page_of_layouts_names_every_reader_and_column():
    text = (DOCS / "reference" / "layouts.md").read_text(encoding="utf-8")
    for name in leaf_names("chiron.data.readers"):
        assert f"| `{name}` |" in text
    for names in COLUMN_NAMES.values():
        assert ", ".join(f"`{name}`" for name in names) in text


@pytest.mark.slow
def test_own_folder_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split("data make phantom-cxr --count 80 --img-size 48 --layout csv --out made -q")) == 0
    for name in ("benign", "malignant", "../new_images"):
        (tmp_path / "my_images" / name).mkdir(parents=True)
    text = (tmp_path / "made" / "labels.csv").read_text(encoding="utf-8")
    rows = [line.split(",")[:3] for line in text.splitlines()[1:]]
    table = ["image,label,patient_id"]
    for path in sorted((tmp_path / "made" / "images").iterdir()):
        label, patient = next((row[1], row[2]) for row in rows if row[0] == path.stem)
        folder = "malignant" if label == "opacity" else "benign"
        shutil.copy(path, tmp_path / "my_images" / folder / path.name)
        table.append(f"{path.name},{folder},{patient}")
    for path in sorted((tmp_path / "made" / "images").iterdir())[:3]:
        shutil.copy(path, tmp_path / "new_images" / path.name)
    (tmp_path / "labels.csv").write_text("\n".join(table), encoding="utf-8")
    for arguments in commands("tutorials/own-folder.md"):
        assert run_small(arguments) == 0, arguments
    assert (tmp_path / "report_to_share.html").is_file()
    assert (tmp_path / "predictions.csv").read_text(encoding="utf-8").count("\n") == 4


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_ham10000_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("tutorials/ham10000.md"):
        assert run_small(arguments) == 0, arguments
    assert (tmp_path / "ham_report.html").is_file()
    assert len((tmp_path / "ham_runs" / "test_ledger.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_chest_xray_dicom_runs_as_written(tmp_path, monkeypatch):
    """And nothing that is written holds the name of a file or patient, but the one file that is for it."""
    monkeypatch.chdir(tmp_path)
    for arguments in commands("tutorials/chest-xray-dicom.md"):
        assert run_small(arguments) == 0, arguments
    assert (tmp_path / "project/predictions.csv").read_text(encoding="utf-8").count("\n") > 20
    assert (tmp_path / "project/maps/index.html").is_file()
    assert (tmp_path / "report_to_share.html").is_file()
    names = {path.stem.encode() for path in tmp_path.glob("xrays/*/*.dcm")} | {b"Phantom^"}
    written = [tmp_path / "report_to_share.html", *(tmp_path / "project").rglob("*")]
    for path in written:
        if path.is_file() and path.suffix in (".csv", ".json", ".jsonl", ".yaml", ".html", ".md", ".svg"):
            held = path.read_bytes()
            assert (path.name == "local_names.csv") == any(name in held for name in names), path


@pytest.mark.slow
def test_several_gpus_runs_as_written(tmp_path, monkeypatch, capsys):
    """As a job of two processes on the CPU; what one and two have learned is the same."""
    monkeypatch.chdir(tmp_path)
    page = "tutorials/several-gpus.md"
    for words in typed(page):
        if words[0] == "torchrun":
            subprocess.run([sys.executable, "-m", "torch.distributed.run", *words[1:]], check=True)
        else:
            assert run(words[1:]) == 0, words
    capsys.readouterr()
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(block, {})
    one, two = ([float(it) for it in numbers_in(line)] for line in capsys.readouterr().out.splitlines())
    assert len(one) == 3
    assert two == pytest.approx(one, abs=2e-4)
    numbers = [json.loads((tmp_path / run / "evaluation_metrics.json").read_text()) for run in ("one", "two")]
    assert numbers[0]["split"] == numbers[1]["split"] == "test"
    assert numbers[0]["overall"]["auroc"]["value"] == pytest.approx(numbers[1]["overall"]["auroc"]["value"], abs=0.01)


def test_every_tutorial_is_run():
    for path in (DOCS / "tutorials").glob("*.md"):
        assert f"test_{path.stem.replace('-', '_')}_runs_as_written" in globals(), path


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_predict_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("how-to/predict.md"):
        assert run_small(arguments) == 0, arguments
    assert pl.read_csv(tmp_path / "predictions.csv").height == 400
    assert pl.read_parquet(tmp_path / "both.parquet" / "part-*.parquet").height == 400
    said = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {len(row["top_k_predictions"]) for row in said} == {2}
    numbers = json.loads((tmp_path / "runs/one/tta_hflip/evaluation_metrics.json").read_text(encoding="utf-8"))
    assert numbers["tta"] == "hflip"
    assert "test-time augmentation" in (tmp_path / "runs/one/tta_hflip/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_multi_label_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("how-to/multi-label.md"):
        assert run_small(arguments) == 0, arguments
    assert "y_true_Lung Opacity" in (tmp_path / "runs/findings/predictions/test.csv").read_text(encoding="utf-8")


@pytest.mark.slow
def test_decide_by_patient_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("how-to/decide-by-patient.md"):
        assert run_small(arguments) == 0, arguments
    assert "answer_opacity" in (tmp_path / "patients.csv").read_text(encoding="utf-8")
    assert (tmp_path / "patients_images.csv").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_use_the_page_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    *before, serve = commands("how-to/use-the-page.md")
    for arguments in before:
        assert run_small(arguments) == 0, arguments
    assert serve == ["serve", "runs/chest"]  # tests/page serves a run
    assert (tmp_path / "runs/chest/bundle/experience.json").is_file()


@pytest.mark.slow
def test_pretrained_weights_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "how-to/pretrained-weights.md"
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(block, {})
    for arguments in commands(page):
        assert run_small(arguments) == 0, arguments
    card = (tmp_path / "runs/transfer/bundle/README.md").read_text(encoding="utf-8")
    assert "First weights: " in card
    assert "from checkpoint.pth.tar (license: not stated)" in card


@pytest.mark.slow
def test_train_well_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("how-to/train-well.md"):
        assert run_small(arguments) == 0, arguments
    assert (tmp_path / "runs" / "first" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["audit-data", "keep-names-private"])
def test_a_how_to_runs_as_written(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = {tuple(arguments): run_small(arguments) for arguments in commands(f"how-to/{page}.md")}
    refused = [" ".join(arguments) for arguments, code in codes.items() if code not in (0, 1)]
    # the phantoms come without splits, so there is nothing to repair
    assert refused == (["data split audit --repair --out repaired"] if page == "audit-data" else [])


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_compare_models_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("how-to/compare-models.md"):
        assert run_small(arguments) == 0, arguments
    assert "SD over seeds cnn" in (tmp_path / "methods" / "comparison.md").read_text(encoding="utf-8")
    assert (tmp_path / "comparison" / "forest.svg").is_file()


@pytest.mark.slow
def test_test_externally_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "how-to/test-externally.md"
    write_yaml_blocks(page, tmp_path)
    for arguments in commands(page):
        assert run_small(arguments) == 0, arguments
    numbers = json.loads((tmp_path / "external/evaluation_metrics.json").read_text(encoding="utf-8"))
    assert [it["attribute"] for it in numbers["strata"]] == ["label_of_data"]
    numbers = json.loads((tmp_path / "recalibrated/evaluation_metrics.json").read_text(encoding="utf-8"))
    assert numbers["recalibration"]["split"] == "cal"
    assert 80 <= numbers["num_images"] <= 100
    assert (tmp_path / "recalibrated/bundle/bundle.json").is_file()
    splits = (tmp_path / "by_sex/test_split.csv").read_text(encoding="utf-8")
    assert splits.count("\n") > 10


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_explain_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands("how-to/explain.md"):
        assert run_small(arguments) == 0, arguments
    assert (tmp_path / "maps" / "index.html").is_file()
    assert 'id="maps"' in (tmp_path / "runs/first/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("page", ["export", "share-a-bundle"])
def test_forms_of_bundles_run_as_written(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands(f"how-to/{page}.md"):
        assert run_small(arguments) == 0, arguments
    for code in re.findall(r"```python\n(.*?)```", (DOCS / f"how-to/{page}.md").read_text(encoding="utf-8"), re.DOTALL):
        exec(code, {})


@pytest.mark.slow
def test_sweeps_and_folds_run_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "how-to/sweeps-and-folds.md"
    write_yaml_blocks(page, tmp_path)
    for arguments in commands(page):
        assert run_small(arguments) == 0, arguments
    assert (tmp_path / "folds/sweep.csv").read_text(encoding="utf-8").count("finished") == 6
    assert (tmp_path / "search/sweep.csv").read_text(encoding="utf-8").count("finished") == 4


PAPER = "how-to/from-a-folder-to-a-paper.md"
SOURCES = r"^\| ([^|]+) \| `([^`]+)` \| ([^|]+) \|$"


def paper_sources() -> list[tuple[str, str, str]]:
    """The text of a number, its file and the place in it, of the page's last table."""
    return re.findall(SOURCES, (DOCS / PAPER).read_text(encoding="utf-8"), re.MULTILINE)


def numbers_in(text: str) -> list[str]:
    """Numbers as written, with a true minus and without commas."""
    return [found.replace("−", "-").replace(",", "") for found in re.findall(r"−?\d[\d,]*(?:\.\d+)?", text)]


def at_place(path: Path, place: str):
    """What stands at the place that the page names."""
    if place == "rows":
        return len(path.read_text(encoding="utf-8").splitlines()) - (path.suffix == ".csv")
    if place.startswith("distinct"):
        return pl.read_csv(path)[place.split("`")[1]].n_unique()
    text = path.read_text(encoding="utf-8")
    value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    for key in place.strip("`").split("."):
        value = value[int(key) if isinstance(value, list) else key]
    return value


def test_every_number_of_the_paper_has_its_source():
    text = (DOCS / PAPER).read_text(encoding="utf-8")
    draft = " ".join(line for line in text.splitlines() if line.startswith("> "))
    named = {number for told, _, _ in paper_sources() for number in numbers_in(told)}
    assert len(named) > 20
    assert set(numbers_in(draft)) - named == {"8", "95"}  # the thumbnail's side and the level


@pytest.mark.slow
def test_from_a_folder_to_a_paper_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in commands(PAPER):
        quiet = ["--threads", "1", "-q"] if arguments[0] in ("train", "calibrate") else []
        assert run([*arguments, *quiet]) == 0, arguments
    sources = paper_sources()
    assert len(sources) == 24
    for told, file, place in sources:
        found, written = at_place(tmp_path / file, place), [float(it) for it in numbers_in(told)]
        if isinstance(found, dict):  # another processor trains another network, whose interval holds the number written
            assert found["low"] <= written[0] <= found["high"], (told, found)
            value = found["auroc"] if place.startswith("`shortcuts") else found["value"]
            assert written[1] <= value <= written[2], (told, found)
        elif isinstance(found, int) or file.endswith(".yaml"):
            assert found == written[0], told
        elif isinstance(found, str):
            assert found == told
        else:
            assert np.ravel(found) == pytest.approx(written, abs=0.15), told


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_run_a_study_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "how-to/run-a-study.md"
    write_yaml_blocks(page, tmp_path)
    for arguments in commands(page):
        assert run_small(arguments) == 0, arguments
    assert "hybrid is" in (tmp_path / "study/study.md").read_text(encoding="utf-8")
    assert (tmp_path / "study/table.csv").read_text(encoding="utf-8").count("\n") == 7


def test_the_page_of_studies_names_every_key():
    from chiron.spec.study import StudyPlan

    text = (DOCS / "how-to" / "run-a-study.md").read_text(encoding="utf-8")
    for key in StudyPlan.model_fields:
        assert f"`{key}`" in text, key
