"""A bundle at a place where classes are rarer: some patients fit its decision again, and others are scored."""

import json
import shutil
from functools import partial

import numpy as np
import polars as pl
import pytest
from conftest import write_class_folders
from process_jobs import run_job

from chiron.audit.ledger import LEDGER
from chiron.bundle import read_known_images
from chiron.classifier import load
from chiron.cli.evaluate import say_evaluation
from chiron.core.errors import DataError, DecisionError, LeakError, SpecError
from chiron.data.known_images import pixel_marks
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.decide.calibrate import calibrated, fit_calibration
from chiron.decide.thresholds import fit_threshold
from chiron.engine.runtime import start_runtime
from chiron.engine.scoring import score_manifest
from chiron.spec.decision import Calibration, Conformal, Decision, Threshold
from chiron.spec.layout import Layout
from chiron.spec.recipe import EvaluateRecipe
from chiron.workflows import evaluate as verb
from chiron.workflows import evaluate_bundle
from chiron.workflows.evaluate import evaluate
from chiron.workflows.report import report

pytestmark = pytest.mark.usefixtures("unchecked")
OWN = Decision(
    calibration=Calibration(
        method="temperature", parameters=({"temperature": (0.5,)},), fitted_on="cal", num_units=60, num_groups=60
    ),
    thresholds=(
        Threshold(
            question="sick", classes=("sick",), rule="expected", sensitivity=0.8, value=0.9, low=0.8, high=0.95,
            num_found=24, num_positive=30, num_groups=30, fitted_on="cal",
        ),
    ),
    conformal=Conformal(score="lac", alpha=0.2, quantiles={"all": 0.9}, num_groups={"all": 60}, fitted_on="cal"),
)  # fmt: skip


@pytest.fixture(scope="module")
def given(trained_run, tmp_path_factory):
    """A bundle with a decision, away from its run."""
    folder = tmp_path_factory.mktemp("given") / "bundle"
    shutil.copytree(trained_run.bundle, folder)
    decided(folder, OWN)
    return folder


def decided(bundle, decision):
    classifier = load(bundle)
    classifier.decision = decision
    classifier.save(bundle, known=read_known_images(bundle))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """200 images of 200 patients, a fifth of them sick, in two splits."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return write_table(write_class_folders(folder, count=320, seed=7))


def write_table(data, place=None, **columns):
    """A table beside the images, or at another place, with other columns."""
    names = [f"sick/{path.name}" for path in sorted((data / "sick").iterdir())[:40]]
    names += [f"well/{path.name}" for path in sorted((data / "well").iterdir())]
    given = {
        "image": names,
        "label": [name.split("/")[0] for name in names],
        "patient_id": [f"p{k}" for k in range(len(names))],
        "split": [("cal", "test")[k % 2] for k in range(len(names))],
    }
    table = pl.DataFrame(given | {key: [value(k) for k in range(len(names))] for key, value in columns.items()})
    path = (place or data) / "images.csv"
    table.write_csv(path)
    return path


def again(bundle, data, out, **options):
    own = {"recalibrate_on": "cal", "device": "cpu", "layout": Layout(images=options.pop("images", None))}
    return evaluate(bundle, data=data, out=out, **(own | options))


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Reports without figures, and fewer resamples than numbers that are kept have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chiron.workflows.report.draw_figures", lambda *numbers, **options: [])
        patch.setattr("chiron.workflows.stored.EvaluateRecipe", partial(EvaluateRecipe, num_resamples=200))
        yield


@pytest.fixture(scope="module")
def done(given, elsewhere, tmp_path_factory):
    return again(given, elsewhere, tmp_path_factory.mktemp("project") / "out")


def test_shifted_probabilities_are_mended_and_those_before_stand_beside(done):
    fit = done.numbers["calibration_fit"]
    before, after = (fit[part]["sick"]["in_the_large"] for part in ("before", "by_class"))
    assert not before["low"] <= 0 <= before["high"]
    assert after["low"] <= 0 <= after["high"]
    assert (fit["method"], fit["fitted_on"], fit["num_units"]) == ("platt", "other_data", 100)
    table = Predictions.load(done.folder / "predictions.csv")
    own = table.with_facts(decision=OWN.model_dump(mode="json")).y_prob[:, 0]
    assert before["value"] == pytest.approx((table.y_true == 0).mean() - own.mean())
    told = done.numbers["recalibration"]
    for key in ("log_loss", "ece"):
        assert done.numbers["overall"][key]["value"] < told["overall_before"][key]["value"]


def test_what_is_fitted_on_is_never_scored(done, given):
    table, manifest = Predictions.load(done.folder / "predictions.csv"), Manifest.load(done.folder)
    fitted = manifest.select("cal").frame
    assert table.frame.height == fitted.height == done.numbers["num_images"] == 100
    assert not set(table.frame["sample_id"]) & set(fitted["sample_id"])
    (line,) = (done.folder.parent / LEDGER).read_text().splitlines()
    assert json.loads(line)["num_images"] == 100
    known, former = read_known_images(done.folder / "bundle"), read_known_images(given)
    assert set(known.pixels) == {*former.pixels, *pixel_marks(fitted["pixels_sha256"])}


def test_the_decision_is_the_one_that_the_library_fits(done, given):
    classifier, part = load(given), Manifest.load(done.folder).select("cal")
    cal = score_manifest(classifier, part, start_runtime(device="cpu"), batch_size=32)
    logits = cal.frame.select("logit_sick", "logit_well").to_numpy()
    how = {"method": "auto", "needs_intercept": True, "fitted_on": "other_data", "several": False}
    calibration = fit_calibration(logits, cal.y_true, cal.groups, **how)
    probs = calibrated(logits, calibration, several=False)
    asked = {"question": "sick", "classes": ("sick",), "rule": "expected", "sensitivity": 0.8}
    threshold = fit_threshold(probs[:, 0], cal.y_true == 0, cal.groups, **asked, fitted_on="other_data")
    made = load(done.folder / "bundle")
    assert made.decision.calibration == calibration
    assert made.decision.thresholds == (threshold,)
    before = load(given).decision.thresholds[0].value
    assert done.numbers["recalibration"]["thresholds"] == {"sick": [before, threshold.value]}
    assert "The threshold of sick was" in done.report.read_text()
    assert (made.decision.conformal.alpha, made.decision.conformal.num_groups) == (0.2, {"all": 100})
    misses = np.sort(1 - probs[np.arange(100), cal.y_true])
    assert made.decision.conformal.quantiles["all"] == pytest.approx(misses[int(np.ceil(101 * 0.8)) - 1])
    table = Predictions.load(done.folder / "predictions.csv")
    scored = table.frame.select("logit_sick", "logit_well").to_numpy()
    np.testing.assert_allclose(table.y_prob, calibrated(scored, calibration, several=False))


def test_what_came_out_is_another_bundle_and_says_so(done, given):
    made, former = load(done.folder / "bundle"), load(given)
    found = made.provenance.recalibration
    assert found.former_bundle_id == former.bundle_id != made.bundle_id == done.numbers["model_id"]
    assert (found.split, found.num_images, found.num_groups) == ("cal", 100, 100)
    assert json.loads((done.folder.parent / LEDGER).read_text())["bundle_id"] == made.bundle_id
    for one, other in zip(made.networks.state_dict().values(), former.networks.state_dict().values(), strict=True):
        assert one.equal(other)
    card = (done.folder / "bundle" / "README.md").read_text()
    assert "**Recalibrated** on 100 images in 100 groups of other data (split cal" in card
    assert f"weights are those of the bundle {former.bundle_id}" in card


def test_the_report_tells_it_in_plain_words(done, tmp_path, capsys):
    say_evaluation(done.numbers)
    assert "recalibrated on    100 images in 100 groups of cal, which are not scored" in capsys.readouterr().out
    page = done.report.read_text().replace("\u00a0", " ")
    words = "Recalibrated on 100 images of 100 groups of these data (split cal), which are not scored."
    assert page.split('id="limits"')[0].count(words) == 1
    assert 'data-rule="recalibrated"' in page
    assert "100 images, 100 groups: recalibrated on, so never scored" in page
    assert "as the bundle came, before" in page
    report(done.folder / "predictions.csv", out=tmp_path / "shared.html", shareable=True)
    assert words in (tmp_path / "shared.html").read_text().replace("\u00a0", " ")


def test_a_recalibrated_bundle_knows_what_it_was_fitted_on(done, elsewhere, tmp_path):
    with pytest.raises(LeakError, match="Got 100 of 100 that its training has seen"):
        evaluate(done.folder / "bundle", data=elsewhere, split="cal", out=tmp_path / "out", device="cpu")
    later = evaluate(done.folder / "bundle", data=elsewhere, split="test", out=tmp_path / "out", device="cpu")
    assert later.numbers["recalibration"] is None
    assert later.numbers["overall"]["log_loss"] == done.numbers["overall"]["log_loss"]
    assert "of other data than the training" in later.report.read_text()


def test_all_means_all_others(given, elsewhere, tmp_path):
    data = write_table(elsewhere.parent, tmp_path, split=lambda k: "cal" if k % 2 else None)
    options = {"split": "all", "images": elsewhere.parent}
    done = again(given, data, tmp_path / "out", **options)
    assert done.numbers["num_images"] == 100
    with pytest.raises(DataError, match="must be others than those of --recalibrate-on"):
        table = pl.read_csv(data).with_columns(split=pl.lit("cal"))
        table.write_csv(data)
        again(given, data, tmp_path / "b", **options)


def test_patients_and_labels_of_the_data_are_the_units_and_classes(trained_run, elsewhere, tmp_path):
    """Two images a patient, labels with other names, and a class that the bundle has not."""
    bundle = shutil.copytree(trained_run.bundle, tmp_path / "given" / "bundle")
    decided(bundle, OWN.model_copy(update={"unit": "patient"}))
    data = write_table(
        elsewhere.parent,
        tmp_path,
        patient_id=lambda k: f"p{k // 2}",
        split=lambda k: ("cal", "test")[k // 2 % 2],
    )
    frame = pl.read_csv(data).with_columns(pl.col("label").replace({"sick": "ILL"}))
    frame.with_columns(
        pl.when(pl.col("patient_id").is_in(["p98", "p99"])).then(pl.lit("??")).otherwise("label").alias("label")
    ).write_csv(data)
    (tmp_path / "map.yaml").write_text("ILL: sick\n'??': null\n")
    options = {"labels_map": tmp_path / "map.yaml", "split": "test", "images": elsewhere.parent}
    with pytest.raises(
        DecisionError, match=r"at least 50 cases.*Got 49\. .*the split cal with 49 patients in 49 groups"
    ):
        again(bundle, data, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    (tmp_path / "map.yaml").write_text("ILL: sick\n'??': well\n")
    done = again(bundle, data, tmp_path / "out", unit="image", **options)
    found = done.numbers["recalibration"]
    assert (found["num_images"], found["num_units"], found["unit"]) == (100, 50, "patient")
    assert load(tmp_path / "out" / "bundle").decision.unit == "patient"
    assert done.numbers["num_images"] == 100
    assert "Recalibrated on cal, which has fewer than 100 groups" in "".join(Manifest.load(tmp_path / "out").notes)


@pytest.mark.slow
def test_seen_images_are_left_out_of_the_fit_too(given, trained_run, tmp_path):
    data = write_table(write_class_folders(tmp_path / "data", count=320, seed=7))
    seen = Manifest.load(trained_run.path).select("train").frame.filter(pl.col("label") == "well")["path"][0]
    place = pl.read_csv(data).filter(pl.col("split") == "cal", pl.col("label") == "well")["image"][0]
    shutil.copy(trained_run.path.parent / "data" / seen, data.parent / place)
    with pytest.raises(LeakError, match="Got 1 of 200 that its training has seen"):
        again(given, data, tmp_path / "out")
    done = again(given, data, tmp_path / "out", overlap="leave-out")
    assert done.numbers["recalibration"]["num_images"] == 99
    done = again(given, data, tmp_path / "out", overlap="accept", force=True)
    assert "1 images of the recalibration that the training has seen" in done.report.read_text()


def same_patient(k):
    return "shared" if k in (0, 1) else f"p{k}"


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        ({}, {"split": "cal"}, SpecError, "must be two splits. Got cal for both"),
        ({}, {"recalibrate_on": "val"}, DataError, "Got none in 'val'. Splits here: cal, test. Make one with `chiron"),
        ({}, {"recalibrate_on": "call"}, DataError, "Got 'call'. Did you mean 'cal'"),
        ({"patient_id": same_patient}, {}, LeakError, r"Got 1 in cal and among the images to score \(same patient_id"),
        (
            {"split": lambda k: "cal" if k % 9 == 0 else "test"},
            {},
            DecisionError,
            r"Got 23\. .* cal with 23 images in 23",
        ),
        ({"split": lambda k: "cal" if k > 99 else "test"}, {}, DecisionError, r"Got none of sick\. Add .*\(sick 0, w"),
        ({"split": lambda k: "cal" if k % 3 == 0 and (k > 39 or k < 3) else "test"}, {}, DecisionError, "Nothing was"),
    ],
    ids=["same split", "empty", "no split", "patient in both", "few", "one class", "few positives"],
)
def test_what_cannot_be_done_is_told_and_nothing_written(given, elsewhere, tmp_path, columns, options, error, message):
    data = write_table(elsewhere.parent, tmp_path, **columns)
    with pytest.raises(error, match=message):
        again(given, data, tmp_path / "out", images=elsewhere.parent, **options)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / LEDGER).exists()


def test_a_bundle_or_run_that_does_not_allow_it_is_told(given, trained_run, elsewhere, tmp_path):
    with pytest.raises(SpecError, match="--recalibrate-on is about other data"):
        evaluate(trained_run.path, recalibrate_on="cal")
    bundle = shutil.copytree(given, tmp_path / "given" / "bundle")
    decided(bundle, OWN.model_copy(update={"conformal": OWN.conformal.model_copy(update={"by": "ward"})}))
    with pytest.raises(DataError, match=r"column ward, as the bundle's prediction sets are fitted by ward. Got none"):
        again(bundle, elsewhere, tmp_path / "out")
    classifier = load(given)
    classifier.networks.append(load(given).networks[0])
    classifier.network_spec = classifier.network_spec.model_copy(update={"members": 2})
    two = {"temperature": (1.0,)}
    classifier.decision = Decision(calibration=OWN.calibration.model_copy(update={"parameters": (two, two)}))
    classifier.save(bundle)
    with pytest.raises(SpecError, match=r"outputs of one network\. Got a bundle of 2, each calibrated"):
        again(bundle, elsewhere, tmp_path / "out")


def test_no_bundle_that_is_to_be_kept_is_replaced(given, elsewhere, done, tmp_path):
    bundle = shutil.copytree(given, tmp_path / "run" / "bundle")
    before = (bundle / "bundle.json").read_bytes()
    for target in (bundle, given):
        for options in ({}, {"recalibrate_on": None}):
            with pytest.raises(SpecError, match="must not hold a bundle that is to be kept"):
                again(target, elsewhere, tmp_path / "run", force=True, **options)
    assert (bundle / "bundle.json").read_bytes() == before
    made = shutil.copytree(done.folder, tmp_path / "out")
    with pytest.raises(SpecError, match="must not hold a bundle"):
        again(made / "bundle", elsewhere, tmp_path / "out", force=True)
    evaluate(given, data=elsewhere, out=tmp_path / "out", split="test", force=True, device="cpu")
    assert not (tmp_path / "out" / "bundle").exists()  # nobody takes it for the one that was scored


STEPS = ["refit", "known_with", "score_manifest", "evaluate_table"]


@pytest.mark.parametrize("step", STEPS)
def test_stopped_anywhere_it_leaves_no_results_of_another_bundle(given, elsewhere, done, tmp_path, step, monkeypatch):
    out = shutil.copytree(done.folder, tmp_path / "out")

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(verb if step == "evaluate_table" else evaluate_bundle, step, stopped)
        with pytest.raises(KeyboardInterrupt):
            again(given, elsewhere, out, force=True)
    if step == "refit":  # before anything is written
        files = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
        assert all((out / name).read_bytes() == (done.folder / name).read_bytes() for name in files)
        assert len(files) == len([path for path in done.folder.rglob("*") if path.is_file()])
        return
    assert not (out / "evaluation_metrics.json").exists()
    assert not (out / "report.html").exists()
    assert (out / "predictions.csv").exists() == (step == "evaluate_table")
    assert (out / "bundle").exists() == (step != "known_with")
    assert not list(tmp_path.rglob(".*tmp*"))
    if step == "score_manifest":
        finished = again(given, elsewhere, out, force=True)
        assert finished.numbers["model_id"] == load(out / "bundle").bundle_id == done.numbers["model_id"]


@pytest.mark.slow
def test_two_processes_fit_once_and_score_alike(given, elsewhere, done, tmp_path):
    told = run_job("recalibrate", tmp_path, bundle=str(given), data=str(elsewhere))
    assert told[0] == told[1]
    assert told[0]["model_id"] == done.numbers["model_id"]
    assert told[0]["log_loss"] == pytest.approx(done.numbers["overall"]["log_loss"]["value"], abs=1e-6)
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 1
