"""The report written again: the same bytes, from tables alone; and the version that may leave the project."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from chiron.audit.ledger import LEDGER
from chiron.audit.sharing_key import SHARING_KEY
from chiron.core.errors import DataError, SpecError
from chiron.workflows.evaluate import evaluate, evaluate_run
from chiron.workflows.report import report
from chiron.workflows.run_folder import open_run


@pytest.fixture
def copied_run(trained_run, tmp_path):
    """A run that a test may change, with its ledger."""
    shutil.copytree(trained_run.path, tmp_path / "p" / "run")
    shutil.copy(trained_run.path.parent / LEDGER, tmp_path / "p" / LEDGER)
    return open_run(tmp_path / "p" / "run")


def test_report_of_a_run_is_that_of_its_training(trained_run, tmp_path):
    written = (trained_run.path / "report.html").read_bytes()
    ledger = (trained_run.path.parent / LEDGER).read_bytes()
    assert report(trained_run.path, out=tmp_path / "again.html").split == "test"
    assert (tmp_path / "again.html").read_bytes() == written
    assert (trained_run.path.parent / LEDGER).read_bytes() == ledger
    assert b"<img " in written


def test_a_page_without_pictures_lists_its_failures_by_id(copied_run, tmp_path):
    report(copied_run.path, out=tmp_path / "plain.html", pictures=False)
    page = (tmp_path / "plain.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert 'table class="errors"' in page
    again = evaluate(copied_run.path, pictures=False)
    assert again.report.read_text(encoding="utf-8") == page


def test_limits_of_an_ordinary_page_have_their_numbers(trained_run):
    text = (trained_run.path / "report.html").read_text(encoding="utf-8")
    assert "The network started from random weights (init: scratch)" in text


def test_no_network_is_needed(trained_run, tmp_path):
    """Neither torch nor the bundle's weights."""
    code = (
        "import sys; from chiron.cli.main import run; "
        f"code = run(['report', {str(trained_run.path)!r}, '--out', {str(tmp_path / 'r.html')!r}, '--shareable']); "
        "sys.exit(code or 10 * ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_default_is_the_split_evaluated_last(copied_run, tmp_path):
    evaluate(copied_run.path, split="val", device="cpu")
    written = (copied_run.path / "report.html").read_bytes()
    assert report(copied_run.path).split == "val"
    assert (copied_run.path / "report.html").read_bytes() == written
    assert report(copied_run.path, split="test", out=tmp_path / "test.html").split == "test"
    assert (copied_run.path / "report.html").read_bytes() == written


def test_a_split_without_predictions_names_the_command(copied_run):
    copied_run.predictions("val").unlink()
    with pytest.raises(DataError, match=r"Got none of the split 'val' .* `chiron evaluate .*run --split val`"):
        report(copied_run.path, split="val")


def test_models_beside_it_are_kept(copied_run):
    other = {"name": "plain CNN", "params": 5, "init": "scratch", "evaluation": copied_run.read_metrics()}
    evaluate_run(copied_run, split="test", others=[other])
    written = (copied_run.path / "report.html").read_bytes()
    assert b"plain CNN" in written
    report(copied_run.path)
    assert (copied_run.path / "report.html").read_bytes() == written


def test_report_of_an_evaluated_bundle_is_written_again(trained_run, class_folders, tmp_path):
    evaluate(trained_run.bundle, data=class_folders, split="all", out=tmp_path / "e", overlap="accept", device="cpu")
    written = (tmp_path / "e" / "report.html").read_bytes()
    report(tmp_path / "e" / "predictions.csv", out=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == written
    assert b"40\xc2\xa0images" in written


def test_a_table_from_elsewhere_has_the_same_report_both_ways(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    wrong = [f"{value:.3f}" for value in random.uniform(0, 1, 60)]
    right = [f"{1 - float(value):.3f}" for value in wrong]
    frame = pl.DataFrame({"sample_id": range(60), "y_true": ["a", "b"] * 30, "prob_a": right, "prob_b": wrong})
    frame.write_csv(tmp_path / "t.csv")
    monkeypatch.chdir(tmp_path)
    evaluate("t.csv", positive="b", out="e")
    assert report("t.csv", positive="b").path.name == "report.html"
    page = (tmp_path / "report.html").read_text()
    assert page == (tmp_path / "e" / "report.html").read_text()
    assert '<table class="errors">' in page
    assert "Every image is its own group." in page
    assert "Groups never cross splits" not in page
    with pytest.raises(SpecError, match="must not exist yet"):
        report("t.csv", positive="b")
    report("t.csv", positive="b", force=True)


def test_other_targets_and_options_are_refused(copied_run, tmp_path):
    with pytest.raises(SpecError, match="takes a run folder or a predictions CSV"):
        report(tmp_path)
    with pytest.raises(SpecError, match="keeps its own classes"):
        report(copied_run.path, positive="sick")


def test_nothing_planted_is_in_the_shareable_report(copied_run, tmp_path):
    """A patient's name in file name, folder, patient_id, a column's name and value, notes, command and run name."""
    name, run = "Zoltan", copied_run.path.rename(tmp_path / "p" / "run_of_Zoltan")
    for table in [run / "manifest.csv", *(run / "predictions").glob("*.csv")]:
        frame = pl.read_csv(table, infer_schema=False)
        ids = [(name + pl.col(key)).alias(key) for key in ("sample_id", "path", "group_id") if key in frame]
        patient = (f"{name} " + pl.col("sample_id")).alias("patient_id")
        frame = frame.with_columns(*ids, patient, pl.lit(f"Dr {name}").alias(name))
        frame.write_csv(table)
    facts = json.loads((run / "manifest.json").read_text())
    facts |= {"notes": [f"{name}.png is odd"], "roles": {"Zoltan": "subgroup"}, "root": f"/data/{name}"}
    (run / "manifest.json").write_text(json.dumps(facts))
    (run / "run.json").write_text((run / "run.json").read_text().replace('"command": "', f'"command": "{name} '))
    report(run)
    assert (run / "report.html").read_text().count(name) > 10
    done = report(run, shareable=True)
    page = done.path.read_text()
    assert done.path.name == "report-shareable.html"
    assert name.lower() not in page.lower()
    assert "<img" not in page
    assert (tmp_path / "p" / SHARING_KEY).is_file()
    assert (run / "report.html").read_text().count(name) > 10  # the project's own report is untouched


def test_shareable_report_is_the_same_each_time_and_says_what_it_is(copied_run, tmp_path):
    for place in ("a.html", "b.html"):
        report(copied_run.path, shareable=True, out=tmp_path / place)
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text()
    assert "Shareable version" in page
    assert "&lt;5" in page
    assert not re.search(r"\b[1-4]\xa0(image|group|patient|error)", page)
