import json
import shutil
from dataclasses import replace

import polars as pl
import pytest
from conftest import TINY_RECIPE, write_class_folders
from PIL import Image

from chiron.audit.ledger import LEDGER
from chiron.classifier import load
from chiron.core.errors import DataError, SpecError
from chiron.data.manifest import Manifest
from chiron.spec.layout import Layout
from chiron.workflows import report as report_workflow
from chiron.workflows import train as train_workflow
from chiron.workflows.evaluate import evaluate
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.train import train

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY_RECIPE)
    train(str(folder / "tiny.yaml"), write_class_folders(folder / "data"), folder / "run", device="cpu")
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A run with its images, which a test may change."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return RunFolder(tmp_path / "run")


@pytest.fixture
def class_folders(run, tmp_path):
    return tmp_path / "data"


def looks(tmp_path) -> int:
    path = tmp_path / LEDGER
    return len(path.read_text().splitlines()) if path.is_file() else 0


def test_training_does_not_look_at_the_test_split(run, tmp_path):
    assert looks(tmp_path) == 0
    assert not run.predictions("test").exists()
    assert run.read_metrics()["split"] == "val"


def test_scoring_is_one_look_and_recomputing_is_none(run, tmp_path):
    first = evaluate(run.path, device="cpu")
    assert looks(tmp_path) == 1
    again = evaluate(run.path, device="cpu")
    assert looks(tmp_path) == 1
    assert again.numbers == first.numbers
    assert first.numbers["split"] == "test"


def test_images_of_one_patient_with_other_labels_are_told_before_the_look(run, tmp_path):
    manifest = Manifest.load(run.path)
    is_test = pl.col("split") == "test"
    patients = pl.when(is_test).then(pl.lit("p1")).otherwise(pl.col("sample_id")).alias("patient_id")
    groups = pl.when(is_test).then(pl.lit("g1")).otherwise(pl.col("group_id")).alias("group_id")
    replace(manifest, frame=manifest.frame.with_columns(patients, groups)).save(run.path)
    with pytest.raises(DataError, match="Images of one patient must have one label"):
        evaluate(run.path, unit="patient", device="cpu")
    assert looks(tmp_path) == 0
    assert not run.predictions("test").exists()
    classifier = load(run.bundle)
    classifier.decision = classifier.decision.model_copy(update={"unit": "patient"})
    classifier.save(run.bundle)
    with pytest.raises(DataError, match="Images of one patient must have one label"):  # also of the bundle's own unit
        evaluate(run.path, device="cpu")
    assert looks(tmp_path) == 0


def test_the_stored_table_alone_gives_the_same_numbers(run, tmp_path):
    from_run = evaluate(run.path, device="cpu").numbers
    from_table = evaluate(run.predictions("test"), out=tmp_path / "e").numbers
    assert from_table["overall"]["auroc"] == from_run["overall"]["auroc"]
    assert from_table["confusion_matrix"] == from_run["confusion_matrix"]


def test_another_bundle_on_the_same_images_is_another_look(run, tmp_path, class_folders):
    evaluate(run.path, device="cpu")
    evaluate(run.bundle, data=class_folders, split="all", out=tmp_path / "e", overlap="accept", device="cpu")
    assert looks(tmp_path) == 2
    report = (tmp_path / "e" / "report.html").read_text()
    assert "2 times" in report


def test_broken_ledger_is_told_as_unknown(run, tmp_path):
    evaluate(run.path, device="cpu")
    (tmp_path / LEDGER).write_text("{}\n")
    evaluate(run.path, device="cpu")
    assert "number of looks" in (run.path / "report.html").read_text().lower()
    assert "unknown" in (run.path / "report.html").read_text()


def test_run_folder_holds_what_is_promised(run, monkeypatch):
    monkeypatch.undo()  # with figures
    evaluate(run.path, device="cpu")
    names = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert {
        "recipe.yaml",
        "manifest.csv",
        "environment.json",
        "training_history.json",
        "bundle/bundle.json",
        "predictions/val.csv",
        "predictions/test.csv",
        "evaluation_metrics.json",
        "report.html",
        "figures/confusion_matrix_counts.png",
        "figures/confusion_matrix_normalized.png",
        "figures/roc.png",
        "figures/reliability.png",
        "figures/learning_curves.png",
    } <= names
    environment = json.loads(run.environment.read_text())
    assert environment["libraries"]["torch"]
    assert not [name for name in names if ".tmp-" in name]


def test_every_number_has_an_interval_or_a_reason(run):
    numbers = evaluate(run.path, device="cpu").numbers
    estimates = [*numbers["overall"].values(), numbers["baselines"]["majority_class"]["accuracy"]]
    estimates += [cell for row in numbers["per_class"].values() for key, cell in row.items() if key != "support"]
    assert len(estimates) > 20
    for estimate in estimates:
        assert estimate["method"]
        if estimate["low"] is None or estimate["high"] is None or estimate["value"] is None:
            assert estimate["note"]
        else:
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
            assert estimate["low"] < estimate["high"]


def test_classes_that_the_bundle_does_not_know_are_refused(run, tmp_path, class_folders):
    (class_folders / "well").rename(class_folders / "healthy")
    with pytest.raises(DataError, match=r"must be the bundle's \(sick, well\). Got healthy"):
        evaluate(run.bundle, data=class_folders, out=tmp_path / "e", device="cpu")


def test_another_unit_stands_beside_what_stands_for_the_run(run):
    table = pl.read_csv(run.path / "manifest.csv", infer_schema=False)
    table.with_columns(patient_id="p" + pl.col("sample_id")).write_csv(run.path / "manifest.csv")
    own = evaluate(run.path, device="cpu")
    before = {name: (run.path / name).read_bytes() for name in ("evaluation_metrics.json", "report.html")}
    other = evaluate(run.path, unit="patient", device="cpu")
    assert (own.folder, other.folder) == (run.path, run.path / "by_patient")
    assert other.numbers["unit"]["name"] == "patient"
    assert json.loads((run.path / "by_patient/evaluation_metrics.json").read_text()) == other.numbers
    assert other.report.is_file()
    assert before == {name: (run.path / name).read_bytes() for name in before}
    assert evaluate(run.path, unit="image", device="cpu").folder == run.path  # the bundle's own


def test_a_test_split_that_was_scored_and_not_evaluated_is_when_resumed(run, tmp_path, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_workflow, "evaluate_run", stopped)
        with pytest.raises(KeyboardInterrupt):
            train("", None, run.path, resume=True, score_test=True, device="cpu")
    assert (run.read_metrics()["split"], looks(tmp_path)) == ("val", 1)
    train("", None, run.path, resume=True, score_test=True, device="cpu")
    assert (run.read_metrics()["split"], looks(tmp_path)) == ("test", 1)


def test_an_evaluation_that_was_stopped_has_no_numbers_yet(run, monkeypatch):
    """What reads the numbers takes it for done: they are written last."""

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(report_workflow, "write_page", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run.path, device="cpu")
    assert run.read_metrics()["split"] == "val"


def test_empty_split_is_told(run):
    with pytest.raises(DataError, match=r"Got none in 'external'. Splits here: test, train, val"):
        evaluate(run.path, split="external", device="cpu")


def test_every_road_to_test_rows_is_a_look(run, tmp_path):
    """No split but the named ones of a run can be scored, so that no table holds test rows without a line."""
    for split in ("all", "train"):
        with pytest.raises(SpecError, match="must be val, cal, test, external"):
            evaluate(run.path, split=split, device="cpu")
    assert not list((run.path / "predictions").glob("all*"))
    assert looks(tmp_path) == 0


def test_changed_images_are_noticed(tmp_path, tiny_recipe):
    """By scoring and by resuming, each on its own."""
    class_folders = write_class_folders(tmp_path / "own")
    run = train(str(tiny_recipe), class_folders, tmp_path / "run", device="cpu")
    for image in class_folders.rglob("*.png"):
        Image.new("L", (40, 40), 7).save(image)
    with pytest.raises(DataError, match="must be those that the run was started with"):
        evaluate(run.path, device="cpu")
    run.write_facts(status="started")
    with pytest.raises(DataError, match="must be those that the run was started with"):
        train("", None, run.path, resume=True, device="cpu")


def test_a_ledger_that_lost_lines_is_unknown(run, tmp_path):
    evaluate(run.path, device="cpu")
    (tmp_path / LEDGER).write_text("")
    evaluate(run.path, device="cpu")
    assert "unknown" in (run.path / "report.html").read_text()


def test_val_report_knows_that_test_was_scored(run):
    assert "the test split has not been scored" in (run.path / "report.html").read_text()
    evaluate(run.path, device="cpu")
    evaluate(run.path, split="val", device="cpu")
    assert "the test split has not been scored" not in (run.path / "report.html").read_text()


def test_split_of_a_table_must_be_in_it(run, tmp_path):
    with pytest.raises(SpecError, match="the table has val"):
        evaluate(run.predictions("val"), split="test", out=tmp_path / "e")


def test_results_do_not_go_among_the_images(run, class_folders):
    with pytest.raises(SpecError, match="must lie outside the images"):
        evaluate(run.bundle, data=class_folders, out=class_folders / "e", device="cpu")


def test_options_that_a_run_would_ignore_are_refused(run, tmp_path):
    with pytest.raises(SpecError, match="Got --out, --positive"):
        evaluate(run.path, out=tmp_path / "e", positive="sick", device="cpu")
    given = {"labels_map": tmp_path / "map.yaml", "overlap": "accept", "privacy": "strict"}
    for target in (run.path, run.predictions("val")):
        with pytest.raises(SpecError, match=r"^--labels-map, --overlap, --privacy is about other data\. Got no"):
            evaluate(target, **given, device="cpu")


def test_classes_of_other_data_may_be_written_in_another_case_but_not_be_numbers(trained_run, tmp_path):
    data = write_class_folders(tmp_path / "data", count=12, seed=5)
    rows = [(path.relative_to(data).as_posix(), path.parent.name) for path in sorted(data.rglob("*.png"))]
    said = {"upper": {"sick": "SICK", "well": "Well"}, "numbers": {"sick": "0", "well": "1"}}
    for name, words in said.items():
        lines = ["image,label", *(f"{path},{words[label]}" for path, label in rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    how = {"layout": Layout(images=data), "device": "cpu"}
    done = evaluate(trained_run.bundle, data=tmp_path / "upper.csv", out=tmp_path / "a", **how)
    assert done.numbers["num_images"] == 12
    with pytest.raises(DataError, match=r"must be the bundle's \(sick, well\)\. Got 0, 1\. Name the bundle's class"):
        evaluate(trained_run.bundle, data=tmp_path / "numbers.csv", out=tmp_path / "b", **how)
