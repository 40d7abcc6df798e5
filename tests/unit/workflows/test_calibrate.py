"""The decision of a run: fitted on cal after training, kept in the bundle, fitted again without training."""

import json
import shutil

import numpy as np
import pytest
from conftest import write_class_folders

from chiron.audit.ledger import LEDGER
from chiron.classifier import load
from chiron.core.errors import DataError, DecisionError, SpecError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.spec.reading import read_recipe
from chiron.workflows import calibrate as workflow
from chiron.workflows.calibrate import calibrate
from chiron.workflows.compare import compare
from chiron.workflows.decision import where_to_fit
from chiron.workflows.evaluate import evaluate
from chiron.workflows.predict import predict, predict_units
from chiron.workflows.report import report
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.train import train

pytestmark = pytest.mark.usefixtures("undrawn", "unchecked")

RECIPE = """\
about: for tests
model: {name: chiron_fair_cnn_nano, init: scratch}
input: {img_size: 32, in_chans: 1}
labels: {positive: sick}
data: {fractions: {train: 0.25, val: 0.15, cal: 0.4, test: 0.2}}
train: {epochs: 1, batch_size: 16, lr: 1e-3, num_workers: 0}
decision: {fit_on: cal, threshold: expected, sensitivity: 0.8, conformal: lac, calibration: platt}
evaluate: {num_resamples: 200}
"""


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decided")
    data = write_class_folders(folder / "data", count=150)
    (folder / "r.yaml").write_text(RECIPE)
    return train(str(folder / "r.yaml"), data, folder / "run", device="cpu")


@pytest.fixture
def own(decided, tmp_path):
    """A copy that a test may change; the data stay where they are."""
    shutil.copytree(decided.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_the_bundle_decides_as_the_table_does(decided):
    classifier, table = load(decided.bundle), Predictions.load(decided.predictions("val"))
    assert table.facts["bundle_id"] == classifier.bundle_id == decided.read_facts()["bundle_id"]
    assert set(table.frame["model_id"]) == {classifier.bundle_id}
    assert table.decision == classifier.decision
    assert classifier.decision.calibration.method == "platt"
    assert classifier.decision.calibration.num_units == 60
    images = decided.path.parent / "data"
    rows = {
        row.name.removeprefix(f"{images}/"): row.prediction for row in predict(decided.bundle, [images], device="cpu")
    }
    for name, probs in zip(table.frame["sample_id"], table.y_prob, strict=True):
        said = next(it for path, it in rows.items() if name in path or path in name)
        np.testing.assert_allclose(list(said.probabilities.values()), probs, atol=1e-6)
        answer, threshold = said.decisions["sick"], classifier.decision.thresholds[0]
        assert (answer.answer == "yes") == (answer.score >= threshold.value)
        assert answer.threshold == threshold.value
        assert said.calibrated
        assert set(said.prediction_set) <= {"sick", "well"}


def test_the_threshold_finds_on_cal_what_it_says(decided):
    numbers = evaluate(decided.path, split="cal", device="cpu").numbers["questions"]["sick"]
    threshold = load(decided.bundle).decision.thresholds[0]
    assert numbers["counts"]["found"] == threshold.num_found
    assert numbers["counts"]["found"] + numbers["counts"]["missed"] == threshold.num_positive
    assert "yes from a score of" in (decided.bundle / "README.md").read_text()
    assert "calibrated (platt) on the cal split" in (decided.bundle / "README.md").read_text()


def test_another_decision_is_another_bundle_and_another_look(own, tmp_path):
    evaluate(own.path, device="cpu")
    before = Predictions.load(own.predictions("test"))
    done = calibrate(own.path, overrides=("decision.sensitivity=0.6", "decision.calibration=temperature"), device="cpu")
    assert done.bundle_id != done.former_id
    assert done.decision.thresholds[0].sensitivity == 0.6
    assert own.read_metrics()["split"] == "val"
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 1
    for use in (report, lambda run, split: compare([str(run), f"again={run}"], split=split)):
        with pytest.raises(DataError, match=f"by {done.former_id}, .* `chiron evaluate .* --split test`"):
            use(own.path, split="test")
    evaluate(own.path, device="cpu")
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 2
    after = Predictions.load(own.predictions("test"))
    assert after.facts["bundle_id"] == done.bundle_id != before.facts["bundle_id"]
    assert after.frame["logit_sick"].to_list() == before.frame["logit_sick"].to_list()
    again = calibrate(own.path, overrides=("decision.sensitivity=0.8", "decision.calibration=platt"), device="cpu")
    assert again.bundle_id == done.former_id


@pytest.mark.parametrize("step", ["write_text", "_write_decision", "evaluate_run"])
def test_a_calibration_that_was_stopped_goes_on_and_nothing_is_told_before(own, monkeypatch, step):
    """Stopped before the recipe, before the bundle, and before the evaluation is written."""
    overrides = ("decision.sensitivity=0.6",)

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workflow, step, stopped)
        with pytest.raises(KeyboardInterrupt):
            calibrate(own.path, overrides=overrides, device="cpu")
    for use in (
        lambda: evaluate(own.path, split="val", device="cpu"),
        lambda: report(own.path, split="val"),
        lambda: compare([str(own.path), f"again={own.path}"], split="val"),
        lambda: train("", None, own.path, resume=True, device="cpu"),
    ):
        with pytest.raises(SpecError, match=r"`chiron calibrate` was stopped\. Run `chiron calibrate .*` to its end"):
            use()
    done = calibrate(own.path, overrides=overrides if step == "write_text" else (), device="cpu")
    assert done.decision.thresholds[0].sensitivity == 0.6
    assert read_recipe(str(own.recipe)).decision.sensitivity == 0.6
    facts, table = own.read_facts(), Predictions.load(own.predictions("val"))
    assert facts["status"] == "finished"
    assert facts["bundle_id"] == load(own.bundle).bundle_id == table.facts["bundle_id"]
    assert table.decision == done.decision
    assert own.read_metrics()["questions"]["sick"]["threshold"]["sensitivity"] == 0.6


def test_fitting_on_val_is_told_as_optimistic(own):
    done = calibrate(own.path, on="val", overrides=("decision.calibration=temperature",), device="cpu")
    assert done.decision.calibration.fitted_on == "reuse_val"
    assert "**optimistic**" in (own.bundle / "README.md").read_text()


def test_what_cannot_be_fitted_leaves_the_bundle_as_it_is(own):
    before = (own.bundle / "bundle.json").read_bytes()
    with pytest.raises(DecisionError, match=r"needs at least 59 groups.*kept in .*bundle"):
        calibrate(own.path, overrides=("decision.threshold=guaranteed", "decision.sensitivity=0.95"), device="cpu")
    with pytest.raises(SpecError, match=r"Got --set train.epochs=3"):
        calibrate(own.path, overrides=("train.epochs=3",), device="cpu")
    with pytest.raises(SpecError, match="must name classes of the data"):
        calibrate(own.path, overrides=("decision.questions={bad: [sik]}",), device="cpu")
    assert (own.bundle / "bundle.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("decision.unit=patient", "needs images with patient_id"),
        ("decision.fit_on=none", "must be fitted on images that training does not see"),
        ("decision.questions={all: [sick, well]}", "must leave a class out"),
        ("decision.conformal_by=sx", "must be all, class or a column"),
    ],
)
def test_a_decision_that_the_data_cannot_have_stops_before_training(tmp_path, decided, change, message):
    recipe = decided.path.parent / "r.yaml"
    with pytest.raises(SpecError, match=message):
        train(str(recipe), decided.path.parent / "data", tmp_path / "new", overrides=(change,), device="cpu")
    assert not (tmp_path / "new" / "checkpoints").exists()


def test_units_of_files_are_predicted_together(decided, tmp_path):
    images = decided.path.parent / "data" / "sick"
    names = sorted(path.name for path in images.iterdir())[:4]
    (tmp_path / "t.csv").write_text(
        "image,patient\n" + "".join(f"{n},{p}\n" for n, p in zip(names, "aab", strict=False))
    )
    paths = [images / name for name in names]
    units = predict_units(decided.bundle, paths, by="patient", table=tmp_path / "t.csv", out=tmp_path / "u.csv")
    assert [unit.name for unit in units] == ["a", "b", str(paths[3])]
    assert [unit.num_images for unit in units] == [2, 1, 1]
    alone = {row.name: row for row in predict(decided.bundle, paths, device="cpu")}
    assert units[1].prediction == alone[str(paths[2])].prediction
    mean = np.mean([alone[str(path)].outputs.logits for path in paths[:2]], axis=0)
    np.testing.assert_allclose(units[0].outputs.logits, mean, atol=1e-6)
    together = load(decided.bundle).predict_unit(paths[:2])
    np.testing.assert_allclose(
        list(together.probabilities.values()), list(units[0].prediction.probabilities.values()), atol=1e-6
    )
    assert (tmp_path / "u.csv").read_text().count("\n") == 4
    beside = (tmp_path / "u_images.csv").read_text()
    assert beside.count("\n") == 5
    facts = json.loads((tmp_path / "u.json").read_text())
    filled = (tmp_path / "u.csv").read_text().replace(",,no_reference", ",sick,no_reference")
    (tmp_path / "u.csv").write_text(filled)
    table = Predictions.load(tmp_path / "u.csv")
    assert facts["decision"] == table.decision.model_dump(mode="json")
    np.testing.assert_allclose(table.y_prob[0], list(units[0].prediction.probabilities.values()), rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossed")
    data = write_class_folders(folder / "data", count=120)
    (folder / "r.yaml").write_text(RECIPE)
    changes = ("decision.fit_on=auto", "decision.folds=2", "decision.calibration=temperature")
    changes += ("data.fractions={train: 0.5, val: 0.2, cal: 0.1, test: 0.2}",)
    return train(str(folder / "r.yaml"), data, folder / "run", overrides=changes, device="cpu")


def test_too_small_a_cal_split_is_cross_fitted(crossed):
    classifier = load(crossed.bundle)
    decision = classifier.decision
    assert len(classifier.networks) == len(decision.calibration.parameters) == 2
    assert decision.calibration.fitted_on == decision.thresholds[0].fitted_on == "cross_fit"
    held = [Predictions.load(crossed.fold(k).predictions("cal")).frame["sample_id"].to_list() for k in range(2)]
    manifest = Manifest.load(crossed.path)
    dealt = [name for role in ("train", "cal") for name in manifest.select(role).frame["sample_id"]]
    assert sorted(held[0] + held[1]) == sorted(dealt)
    assert decision.calibration.num_units == len(dealt)
    assert [len(scores) for scores in decision.conformal.member_scores] == [len(own) for own in held]


def test_a_cross_fitted_bundle_says_the_mean_of_its_networks(crossed):
    classifier, table = load(crossed.bundle), Predictions.load(crossed.predictions("val"))
    temperatures = [own["temperature"][0] for own in classifier.decision.calibration.parameters]
    probs = [
        1 / (1 + np.exp((table.frame[f"member_{k}_logit_well"] - table.frame[f"member_{k}_logit_sick"]).to_numpy() / t))
        for k, t in enumerate(temperatures)
    ]
    np.testing.assert_allclose(table.y_prob[:, 0], (probs[0] + probs[1]) / 2, atol=1e-12)
    name = table.frame["sample_id"][0]
    images = crossed.path.parent / "data"
    rows = {row.name: row.prediction for row in predict(crossed.bundle, [images], device="cpu")}
    said = next(it for path, it in rows.items() if name in path)
    np.testing.assert_allclose(list(said.probabilities.values()), table.y_prob[0], atol=1e-6)
    assert said.prediction_set is not None
    numbers = crossed.read_metrics()
    assert numbers["conformal"]["fitted_on"] == "cross_fit"
    assert 0 < numbers["conformal"]["found"]["overall"]["coverage"]["value"] <= 1
    with pytest.raises(SpecError, match="that no network was trained on"):
        evaluate(crossed.path, split="cal", device="cpu")
    with pytest.raises(SpecError, match="is fitted with its networks"):
        calibrate(crossed.path, device="cpu")


@pytest.mark.parametrize(("changes", "where"), [((), "cross_fit"), (("train.class_weights=balanced",), "none")])
def test_folds_are_only_trained_where_each_can_be_calibrated(tmp_path, crossed, changes, where):
    """36 groups a fold are enough for a temperature, and too few for an intercept a class."""
    recipe = read_recipe(str(crossed.recipe), changes)
    assert where_to_fit(recipe, Manifest.load(crossed.path)) == where
