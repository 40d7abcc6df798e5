"""`chiron fit-check`: comparable numbers, the right sign, and words that the intervals support."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss

from chiron.core.errors import DataError, SpecError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.metrics.estimate import Estimate
from chiron.workflows.evaluate import score_run
from chiron.workflows.fit_check import cases_of, fit_check, judge, loss_of_class_shares, sample_of_train
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.train import train


@pytest.fixture
def run(trained_run, tmp_path) -> RunFolder:
    """A copy of a finished run, which finds its images where they are."""
    shutil.copytree(trained_run.path, tmp_path / "run")
    manifest = Manifest.load(trained_run.path)
    facts = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(facts | {"root": str(manifest.root.resolve())}))
    return RunFolder(tmp_path / "run")


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(value, low, high, "test", 10, 10, note="too few" if low is None else None)


LEARNED = estimate(0.3, 0.2, 0.4)


@pytest.mark.parametrize(
    ("train_loss", "gap", "word"),
    [
        (LEARNED, (0.01, -0.02, 0.04), "good"),
        (LEARNED, (-0.3, -0.4, -0.2), "good"),  # val below train is no overfitting
        (LEARNED, (0.07, 0.05, 0.09), "moderate"),
        (LEARNED, (0.5, 0.3, 0.7), "severe"),  # val above train is
        (LEARNED, (0.04, -0.1, 0.2), "not told apart"),
        (LEARNED, (0.04, None, None), "not told apart"),
        (estimate(0.75, 0.7, 0.8), (0.0, -0.01, 0.01), "underfitting"),
        (estimate(0.68, 0.6, 0.75), (0.0, -0.01, 0.01), "not told apart"),
    ],
)
def test_the_word_is_only_what_the_interval_supports(train_loss, gap, word):
    verdict = judge(train_loss, estimate(*gap), prior=math.log(2))
    assert verdict.word == word


def test_the_sentence_says_what_is_not_told_apart():
    assert "may be good or severe" in judge(LEARNED, estimate(0.04, -0.1, 0.2), prior=1.0).sentence
    assert "too few" in judge(LEARNED, estimate(0.04, None, None), prior=1.0).sentence
    doubted = replace(LEARNED, note="3 of 10 groups needed")
    assert judge(doubted, estimate(0.0, -0.01, 0.01), prior=0.1).word == "not told apart"
    assert "3 of 10 groups needed" in judge(doubted, estimate(0.0, -0.01, 0.01), prior=0.1).sentence
    assert "shares 0.300" in judge(LEARNED, estimate(0.0, -0.01, 0.01), prior=0.3).sentence


def test_numbers_are_those_of_the_bundle_on_images_as_they_are(run):
    done = fit_check(run.path, device="cpu")
    val = Predictions.load(run.predictions("val"))
    expected = log_loss(val.scored["y_true"].to_list(), val.y_prob, labels=list(val.classes))
    assert done["loss"]["val"]["value"] == pytest.approx(expected)
    train_part = sample_of_train(Manifest.load(run.path), num_images=len(val.y_true))
    from chiron.classifier import load

    classifier = load(run.bundle)
    losses = [
        -math.log(classifier.predict(train_part.root / path).probabilities[label])
        for path, label in train_part.frame.select("path", "label").iter_rows()
    ]
    assert done["loss"]["train"]["value"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert done["loss"]["gap"]["value"] == pytest.approx(expected - np.mean(losses), rel=1e-4)
    gap = done["accuracy"]["val"]["value"] - done["accuracy"]["train"]["value"]
    assert done["accuracy"]["gap"]["value"] == pytest.approx(gap)
    for quantity in ("loss", "accuracy"):
        for part in ("train", "val", "gap"):
            number = done[quantity][part]
            assert number["low"] is not None or number["note"]
    assert done["epoch"] == run.read_facts()["best_epoch"]


def test_figure_and_text_are_written_and_the_same_again(run):
    first = fit_check(run.path, device="cpu")
    files = [run.path / f"fit_check.{kind}" for kind in ("png", "svg", "txt")]
    before = [file.read_bytes() for file in files]
    fit_check(run.path, device="cpu")
    assert [file.read_bytes() for file in files] == before
    text = before[2].decode()
    assert first["sentence"] in text
    assert "gap" in text
    assert "Learning rate" in before[1].decode()


def test_a_history_of_one_epoch_will_do(run):
    run.history.write_text(json.dumps(run.read_history()[:1]))
    assert fit_check(run.path, device="cpu")["files"]["png"]
    run.history.unlink()
    assert fit_check(run.path, device="cpu")["files"]["png"]


def test_train_is_sampled_in_whole_groups_by_name(tmp_path):
    rows = [{"sample_id": f"s{k}", "path": f"{k}.png", "label": "ab"[k % 2], "split": "train", "group_id": f"g{k // 3}"}
            for k in range(60)]  # fmt: skip
    manifest = Manifest(pl.DataFrame(rows), ("a", "b"), tmp_path, "test")
    sample = sample_of_train(manifest, num_images=20)
    assert sample.frame.height == 21
    assert set(sample.frame.group_by("group_id").len()["len"]) == {3}
    reversed_rows = Manifest(manifest.frame.reverse(), ("a", "b"), tmp_path, "test")
    again = sample_of_train(reversed_rows, num_images=20)
    assert set(again.frame["sample_id"]) == set(sample.frame["sample_id"])
    assert sample_of_train(manifest, num_images=500).frame.height == 60


def test_several_labels_count_one_by_one_where_assessed():
    frame = pl.DataFrame({"sample_id": ["1", "2"], "group_id": ["g", "h"], "status": ["ok", "ok"], "y_true_a": [1, 0],
                          "y_true_b": [0, None], "logit_a": [2.0, 1.0], "logit_b": [0.0, 5.0]})  # fmt: skip
    cases = cases_of(Predictions(frame, ("a", "b")))
    assert cases.y_true.tolist() == [0, 1, 1]  # present, absent, absent
    np.testing.assert_allclose(cases.y_prob[:, 0], [1 / (1 + math.exp(-2)), 0.5, 1 / (1 + math.exp(-1))])
    assert cases.num_groups == 2
    assert loss_of_class_shares(cases) == pytest.approx(-(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3))


def test_what_cannot_be_checked_is_told(run, tmp_path, tiny_recipe, class_folders):
    check = ("train.overfit_images=4", "train.epochs=1")
    overfit = train(str(tiny_recipe), class_folders, tmp_path / "overfit", overrides=check, device="cpu")
    with pytest.raises(SpecError, match="an overfit check has no bundle"):
        fit_check(overfit.path)
    sanity = train(
        str(tiny_recipe), class_folders, tmp_path / "sanity", overrides=("train.sanity_steps=1",), device="cpu"
    )
    with pytest.raises(SpecError, match="a sanity run has not learned"):
        fit_check(sanity.path)
    assert not (sanity.path / "fit_check.txt").exists()
    with pytest.raises(SpecError, match=r"must hold run\.json"):
        fit_check(tmp_path)
    shutil.rmtree(run.bundle)
    with pytest.raises(SpecError, match=r"must have a bundle. Got none in .*chiron train --resume"):
        fit_check(run.path)


def test_images_that_are_gone_are_told(run, tmp_path):
    facts = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(json.dumps(facts | {"root": str(tmp_path)}))
    with pytest.raises(DataError):
        fit_check(run.path, device="cpu")


def test_val_is_scored_where_its_table_is_missing(run):
    score_run(run, "val", device="cpu")
    before = fit_check(run.path, device="cpu")["loss"]["val"]["value"]
    run.predictions("val").unlink()
    assert fit_check(run.path, device="cpu")["loss"]["val"]["value"] == pytest.approx(before)
