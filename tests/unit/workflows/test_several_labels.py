"""Several labels an image from images to a report: train, score, predict, evaluate, share; and what is refused."""

import json
import re

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from chiron.classifier import load
from chiron.core.errors import DataError, SpecError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.engine.runtime import start_runtime
from chiron.engine.scoring import score_manifest
from chiron.spec.layout import Layout
from chiron.workflows.check import check_recipe
from chiron.workflows.data import prepare
from chiron.workflows.evaluate import evaluate
from chiron.workflows.phantoms import make_phantoms
from chiron.workflows.predict import predict
from chiron.workflows.report import report
from chiron.workflows.train import train

RECIPE = """\
model: {name: chiron_fair_cnn_nano, init: scratch}
input: {img_size: 32, in_chans: 1}
labels: {names: [Cardiomegaly, Pleural Effusion, Lung Opacity]}
train: {epochs: 2, batch_size: 16, lr: 2e-3, loss: bce, class_weights: balanced, num_workers: 0}
evaluate: {num_resamples: 200}
"""
NAMES = ("Cardiomegaly", "Pleural Effusion", "Lung Opacity")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    make_phantoms("phantom-cxr", folder / "data", num_images=110, img_size=32, layout="chexpert", seed=3)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return train(str(folder / "recipe.yaml"), folder / "data", folder / "run", score_test=True, device="cpu")


def test_the_table_keeps_raw_codes_and_says_what_uncertain_ones_count_as(run):
    frame = pl.read_csv(run.predictions("test"), infer_schema_length=None)
    assert "y_true" not in frame.columns
    seen = set().union(*(frame[f"y_true_{name}"].to_list() for name in NAMES))
    assert seen == {1, 0, -1, None}
    predictions = Predictions.load(run.predictions("test"))
    assert predictions.classes == NAMES
    assert predictions.facts["uncertain"] == "ignore"
    sure = frame.select(pl.any_horizontal(pl.col([f"y_true_{name}" for name in NAMES]) >= 0)).to_series()
    assert (frame["status"] == "ok").to_list() == sure.fill_null(False).to_list()
    assert "indeterminate" in frame["status"] or "no_reference" in frame["status"] or sure.all()


def test_the_numbers_are_those_of_the_table(run):
    numbers, predictions = run.read_metrics(), Predictions.load(run.predictions("test"))
    assert numbers["kind"] == "multi_label"
    assert numbers["uncertain_labels"] == {"labels": predictions.num_uncertain, "counted_as": "ignore"}
    assert predictions.num_uncertain > 0
    for k, name in enumerate(NAMES):
        rows = ~np.isnan(predictions.y_true[:, k])
        expected = roc_auc_score(predictions.y_true[rows, k], predictions.y_prob[rows, k])
        assert numbers["per_class"][name]["auroc"]["value"] == pytest.approx(expected)
        assert numbers["class_counts"][name]["assessed"] == rows.sum()


def test_a_prediction_names_no_class_and_gives_every_probability(run, folder, tmp_path):
    images = sorted((folder / "data" / "valid").rglob("*.jpg"))[:3]
    prediction = load(run.bundle).predict(images[0])
    assert (prediction.predicted_class, prediction.confidence) == (None, None)
    assert tuple(prediction.probabilities) == NAMES
    assert prediction.classes_above_half == tuple(n for n, p in prediction.probabilities.items() if p >= 0.5)
    keys = {"probabilities", "classes_above_half", "calibrated", "scope", "referral", "disclaimer"}
    assert set(prediction.to_dict()) == keys
    rows = predict(run.path, images, out=tmp_path / "p.csv", device="cpu")
    table = Predictions.load(tmp_path / "p.csv")
    assert table.is_multi_label
    assert set(table.frame["status"]) == {"no_reference"}
    text = (tmp_path / "p.csv").read_text().replace(",,,,no_reference", ",1,0,,no_reference")
    (tmp_path / "p.csv").write_text(text)
    filled = Predictions.load(tmp_path / "p.csv")
    np.testing.assert_array_equal(filled.y_true, [[1, 0, np.nan]] * 3)
    expected = [list(row.prediction.probabilities.values()) for row in rows if row.prediction]
    np.testing.assert_allclose(filled.y_prob, expected, atol=1e-6)


def test_the_page_speaks_of_labels_and_has_no_matrix_of_classes(run):
    page = run.path.joinpath("report.html").read_text()
    text = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert "an image can have several or none" in text
    assert "every class with an output of 0.5 and more" in text
    assert "Not every image was assessed for every class." in text
    assert "uncertain label" in text
    assert "fig-roc" in page
    assert "confusion_matrix" not in page
    assert "Always “" not in text
    assert not re.search(r">Accuracy<", text)
    assert "Decisions at an output of 0.5" in text
    cells = run.read_metrics()["confusion_matrix"]["by_class"]["Lung Opacity"]
    assert f"<td>{cells['tp']}</td><td>{cells['fn']}</td><td>{cells['fp']}</td><td>{cells['tn']}</td>" in page
    card = (run.bundle / "README.md").read_text()
    assert "An image can have several classes or none. Labels that are uncertain are left out." in card


def test_the_shareable_page_tells_no_small_count(run, tmp_path):
    page = report(run.path, out=tmp_path / "share.html", shareable=True).path.read_text()
    cells = run.read_metrics()["confusion_matrix"]["by_class"].values()
    assert min(min(cell.values()) for cell in cells) < 5  # so that there is something to hide
    text = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    table = text[text.index('id="t-decisions"') : text.index("</table>", text.index('id="t-decisions"'))]
    told = re.findall(r"<td>(.*?)</td>", table)
    assert "&lt;5" in told
    assert all(cell == "&lt;5" or int(cell) % 5 == 0 for cell in told)
    assert "patient0" not in page


def test_a_bundle_scores_data_with_further_findings(run, folder):
    done = evaluate(
        run.bundle, data=folder / "data", split="val", out=folder / "evaluated", overlap="accept", device="cpu"
    )
    assert done.numbers["classes"] == list(NAMES)


def test_another_policy_changes_doubted_labels_alone(run):
    classifier, test = load(run.bundle), Manifest.load(run.path).select("test")
    tables = []
    for policy in ("ignore", "ones"):
        classifier.labels = classifier.labels.model_copy(update={"uncertain": policy})
        tables.append(score_manifest(classifier, test, start_runtime(device="cpu"), batch_size=16))
    ignored, ones = tables
    rows = ones.scored["sample_id"].is_in(ignored.scored["sample_id"].implode()).to_numpy()
    doubted = ignored.scored.select([f"y_true_{name}" for name in NAMES]).to_numpy() == -1
    assert doubted.any()
    assert (ones.y_true[rows][doubted] == 1).all()
    np.testing.assert_array_equal(ones.y_true[rows][~doubted], ignored.y_true[~doubted])
    assert np.isnan(ignored.y_true[doubted]).all()


def test_a_table_of_another_framework(tmp_path):
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.integers(0, 2, (40, 2)), rng.random((40, 2))
    rows = enumerate(zip(y_prob.tolist(), y_true.tolist(), strict=True))
    lines = [f"{n},{p[0]},{p[1]},{y[0]},{y[1] if n % 5 else ''}" for n, (p, y) in rows]
    (tmp_path / "t.csv").write_text("\n".join(["sample_id,prob_a,prob_b,y_true_a,y_true_b", *lines]))
    numbers = evaluate(tmp_path / "t.csv", out=tmp_path / "out").numbers
    assert numbers["class_counts"]["b"]["assessed"] == 32
    assert numbers["per_class"]["a"]["auroc"]["value"] == pytest.approx(roc_auc_score(y_true[:, 0], y_prob[:, 0]))
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("sample_id,prob_a,prob_b,y_true_a\n1,0.5,0.5,1", "must have the column 'y_true_b'"),
        ("sample_id,prob_a,y_true_a\n1,0.5,2", r"y_true_a must hold 1, 0, -1 .*Got '2'"),
        ("sample_id,prob_a,y_true_a\n1,1.5,1", r"of several labels must lie in 0\.\.1"),
        ("sample_id,prob_a,y_true_a\n1,,1", "must be finite"),
    ],
)
def test_tables_that_are_refused(tmp_path, rows, message):
    (tmp_path / "t.csv").write_text(rows + "\n")
    with pytest.raises(DataError, match=message):
        Predictions.load(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.loss=cross_entropy", r"train\.loss must be asymmetric or bce, a question a class\. Got cross_entropy"),
        ("train.sampler=balanced", r"train\.sampler must be none"),
        ("train.class_weights=inverse_frequency", r"must be none or balanced"),
        ("train.select_by=accuracy", r"train\.select_by must be one of loss, "),
        ("labels.positive=Cardiomegaly", r"labels\.positive belongs to two classes that exclude each other"),
        ("labels.one_logit=true", r"labels\.one_logit belongs to two classes"),
    ],
)
def test_settings_of_one_class_an_image_are_refused_with_the_way_out(folder, change, message):
    recipe = check_recipe(str(folder / "recipe.yaml"), (change,))
    with pytest.raises(DataError, match=r"can have several classes or none \(.*" + message + ".*Add --set"):
        prepare(recipe, folder / "data", Layout(table_only=True))
    with pytest.raises(SpecError, match=message):  # told before an image is read
        check_recipe(str(folder / "recipe.yaml"), (change, "data.labels=multi"))


def test_uncertain_labels_belong_to_several(folder, class_folders, tiny_recipe):
    with pytest.raises(DataError, match=r"labels\.uncertain belongs to several labels an image\. Got 'ones'"):
        prepare(check_recipe(str(tiny_recipe), ("labels.uncertain=ones",)), class_folders)


def test_bundle_and_data_must_have_the_same_kind_of_labels(run, class_folders, tmp_path):
    with pytest.raises(DataError, match=r"the same kind of labels\. Got one class an image in the data"):
        evaluate(run.bundle, data=class_folders, out=tmp_path / "e", device="cpu")


def test_the_overfit_check_counts_labels(folder):
    small = ("train.overfit_images=6", "train.batch_size=6", "train.epochs=1")
    done = train(str(folder / "recipe.yaml"), folder / "data", folder / "o", overrides=small, device="cpu")
    assert 0.5 < json.loads(done.facts.read_text())["overfit"]["accuracy"] <= 1


@pytest.mark.slow
def test_training_learns_every_finding(tmp_path):
    make_phantoms("phantom-cxr", tmp_path / "d", num_images=900, img_size=48, layout="nih", difficulty=0.1)
    (tmp_path / "r.yaml").write_text(RECIPE)
    changes = ("labels.names=[]", "train.epochs=14", "input.img_size=48", "train.lr=5e-3", "train.class_weights=none")
    done = train(str(tmp_path / "r.yaml"), tmp_path / "d", tmp_path / "run", overrides=changes, score_test=True)
    assert done.read_metrics()["overall"]["macro_auroc"]["low"] > 0.6
