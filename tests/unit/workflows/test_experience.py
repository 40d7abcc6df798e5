"""How often outputs were right: counted by hand, withheld where they are few, and bound to the bundle."""

import json
import logging
import shutil

import numpy as np
import polars as pl
import pytest
from served import Brightness

import chiron
from chiron.bundle import read_experience, write_experience
from chiron.core.errors import BundleError
from chiron.data.predictions import Predictions
from chiron.experience import experience_with
from chiron.metrics.intervals.proportion import wilson
from chiron.prediction import Answer, Prediction
from chiron.scorer import Outputs
from chiron.spec.decision import Decision, Threshold
from chiron.spec.labels import LabelSpace
from chiron.workflows.evaluate import evaluate_run
from chiron.workflows.experience import experience_of
from chiron.workflows.run_folder import RunFolder

CLASSES = ("mel", "nv", "bkl")


def table(y_true, probs, *, groups=None, classes=CLASSES, decision=None, positive=None) -> Predictions:
    frame = pl.DataFrame(
        {
            "sample_id": [f"i{k}" for k in range(len(probs))],
            "group_id": [f"g{it}" for it in (range(len(probs)) if groups is None else groups)],
            "patient_id": [f"p{it}" for it in (range(len(probs)) if groups is None else groups)],
            "status": ["ok"] * len(probs),
        }
    )
    if isinstance(y_true, dict):
        frame = frame.with_columns(**{f"y_true_{name}": pl.Series(values) for name, values in y_true.items()})
    else:
        frame = frame.with_columns(y_true=pl.Series(y_true))
    logs = np.log(np.asarray(probs)) if not isinstance(y_true, dict) else np.log(probs) - np.log1p(-np.asarray(probs))
    frame = frame.with_columns(**{f"logit_{name}": logs[:, k] for k, name in enumerate(classes)})
    facts = {} if decision is None else {"decision": decision.model_dump(mode="json")}
    return Predictions(frame, classes, positive, facts)


def threshold(value: float, *classes: str) -> Threshold:
    return Threshold(
        question="malignant",
        classes=classes,
        rule="point",
        sensitivity=0.9,
        value=value,
        low=None,
        high=None,
        num_found=9,
        num_positive=10,
        num_groups=10,
        fitted_on="cal",
    )


def test_classes_are_counted_by_the_probability_they_were_named_with():
    probs = [[0.95, 0.04, 0.01]] * 10 + [[0.6, 0.3, 0.1]] * 6 + [[0.1, 0.8, 0.1]] * 4
    y_true = ["mel"] * 9 + ["nv"] + ["mel"] * 2 + ["bkl"] * 4 + ["nv"] * 4
    found = experience_of(table(y_true, probs), "people")
    sure, unsure = found.of_class("mel", 0.95).right, found.of_class("mel", 0.6).right
    assert (sure.count, sure.total) == (9, 10)
    assert (sure.low, sure.high) == pytest.approx(wilson(9, 10, quantile=1.959964), abs=1e-6)
    assert (unsure.count, unsure.total) == (2, 6)
    assert found.of_class("mel", 0.9).right == sure  # the limits are those of the lower end
    assert found.of_class("mel", 1.0).right == sure
    few = found.of_class("nv", 0.8).right
    assert (few.count, few.total, few.low) == (None, None, None)  # four cases
    assert found.of_class("mel", 0.45) is found.classes[0]
    assert (found.num_units, found.num_groups, found.unit, found.population) == (20, 20, "image", "people")


def test_answers_are_those_of_the_threshold_and_misses_are_of_those_who_have_it():
    probs = [[0.4, 0.5, 0.1]] * 10 + [[0.2, 0.7, 0.1]] * 20
    y_true = ["mel"] * 7 + ["nv"] * 3 + ["mel"] * 2 + ["nv"] * 18
    decision = Decision(questions={"malignant": ("mel",)}, thresholds=(threshold(0.3, "mel"),))
    found = experience_of(table(y_true, probs, decision=decision), "")
    yes, no = found.of_answer("malignant", "yes"), found.of_answer("malignant", "no")
    assert (yes.right.count, yes.right.total, yes.missed) == (7, 10, None)
    assert (no.right.count, no.right.total) == (18, 20)
    assert (no.missed.count, no.missed.total) == (2, 9)


def test_the_answers_are_those_that_a_scorer_gives():
    random = np.random.default_rng(0)
    probs = random.dirichlet([1, 1, 1], 200)
    decision = Decision(questions={"malignant": ("mel", "bkl")}, thresholds=(threshold(0.55, "mel", "bkl"),))
    y_true = [CLASSES[k] for k in random.integers(0, 3, 200)]
    predictions = table(y_true, probs, decision=decision)
    scorer = Brightness(labels=LabelSpace(names=CLASSES), decision=decision)
    read = scorer.read_out(Outputs(np.log(probs)[None]))
    found = experience_of(predictions, "")
    for answer, holds in (("yes", {"mel", "bkl"}), ("no", {"nv"})):
        mine = [y in holds for y, it in zip(y_true, read, strict=True) if it.decisions["malignant"].answer == answer]
        kept = found.of_answer("malignant", answer).right
        assert (kept.count, kept.total) == (sum(mine), len(mine))
    for name in CLASSES:
        named = [(y == name, it.confidence) for y, it in zip(y_true, read, strict=True) if it.predicted_class == name]
        between = [right for right, confidence in named if 0.5 <= confidence < 0.7]
        kept = found.of_class(name, 0.6).right
        assert (kept.count, kept.total) == (sum(between), len(between))


def test_groups_widen_the_interval_and_make_few_cases_of_many_images():
    probs, groups = [[0.95, 0.04, 0.01]] * 40, np.repeat(np.arange(8), 5)
    y_true = ["mel"] * 30 + ["nv"] * 10
    single = experience_of(table(y_true, probs), "").of_class("mel", 0.95).right
    grouped = experience_of(table(y_true, probs, groups=groups), "").of_class("mel", 0.95).right
    assert (grouped.count, grouped.total) == (single.count, single.total) == (30, 40)
    assert grouped.high - grouped.low > single.high - single.low + 0.1
    few = experience_of(table(y_true, probs, groups=np.repeat(np.arange(4), 10)), "")
    assert few.of_class("mel", 0.95).right.count is None  # four patients


def test_units_are_counted_where_the_decision_is_for_them():
    probs, groups = [[0.95, 0.04, 0.01]] * 30, np.repeat(np.arange(10), 3)
    found = experience_of(table(["mel"] * 30, probs, groups=groups, decision=Decision(unit="patient")), "")
    assert (found.num_units, found.unit) == (10, "patient")
    assert (found.of_class("mel", 0.95).right.count, found.of_class("mel", 0.95).right.total) == (10, 10)


def test_of_several_labels_each_is_answered_and_unknown_ones_count_for_nothing():
    probs = np.array([[0.8, 0.2]] * 12)
    y_true = {"a": [1] * 6 + [0] * 4 + [None] * 2, "b": [0] * 7 + [1] * 5}
    found = experience_of(table(y_true, probs, classes=("a", "b")), "")
    assert found.classes == ()
    assert (found.of_answer("a", "yes").right.count, found.of_answer("a", "yes").right.total) == (6, 10)
    assert (found.of_answer("b", "no").right.count, found.of_answer("b", "no").right.total) == (7, 12)
    assert (found.of_answer("b", "no").missed.count, found.of_answer("b", "no").missed.total) == (5, 5)


def test_a_no_does_not_rule_out_and_tells_the_miss_rate():
    probs = [[0.4, 0.5, 0.1]] * 10 + [[0.2, 0.75, 0.05]] * 20
    y_true = ["mel"] * 7 + ["nv"] * 3 + ["mel"] * 2 + ["nv"] * 18
    decision = Decision(questions={"malignant": ("mel",)}, thresholds=(threshold(0.3, "mel"),))
    kept = experience_of(table(y_true, probs, decision=decision), "adults in a clinic")
    scorer = Brightness(labels=LabelSpace(names=CLASSES), decision=decision, experience=kept)
    answers = {"malignant": Answer(0.2, 0.3, "no")}
    said = Prediction("nv", "", 0.75, {}, decisions=answers)
    of_class, of_answer = experience_with(scorer, said)
    assert (of_class["class"], of_class["question"], of_class["right"], of_class["of"]) == ("nv", None, 18, 20)
    assert (of_answer["question"], of_answer["output"]) == ("malignant", "no")
    assert (of_answer["right"], of_answer["of"]) == (18, 20)
    assert (of_answer["missed"]["missed"], of_answer["missed"]["of"]) == (2, 9)
    assert of_answer["words"].startswith(
        "An answer no does not rule out malignant: of 9 test cases with malignant, 2 were answered no ("
    )
    assert of_answer["population"] == "test split, 30 images: adults in a clinic"
    few = experience_with(scorer, Prediction("bkl", "", 0.95, {}, decisions=answers))[0]
    assert (few["right"], few["of"]) == (None, None)
    assert few["words"].startswith("fewer than 5 test cases")
    assert experience_with(Brightness(), said) == []


def test_without_stated_questions_the_class_named_answers_for_the_positive_one():
    probs = [[0.8, 0.2]] * 10 + [[0.3, 0.7]] * 10
    y_true = ["ill"] * 8 + ["well"] * 2 + ["ill"] * 1 + ["well"] * 9
    kept = experience_of(table(y_true, probs, classes=("ill", "well"), positive="ill"), "")
    scorer = Brightness(decision=Decision(), experience=kept)
    told = experience_with(scorer, Prediction("well", "", 0.75, {}))[1]
    assert (told["question"], told["output"], told["right"], told["of"]) == ("ill", "no", 9, 10)
    assert (told["missed"]["missed"], told["missed"]["of"]) == (1, 9)


def test_it_is_kept_with_the_bundle_and_of_no_other(trained_run, tmp_path, caplog):
    classifier = chiron.load(trained_run.bundle)
    kept = classifier.experience
    assert (kept.split, kept.num_units) == ("test", Predictions.load(trained_run.predictions("test")).scored.height)
    text = (trained_run.bundle / "experience.json").read_text()
    assert "Bild" not in text  # no sample is named
    shutil.copytree(trained_run.bundle, tmp_path / "b")
    write_experience(tmp_path / "b", "another", kept)
    with caplog.at_level(logging.WARNING, logger="chiron"):
        assert chiron.load(tmp_path / "b").experience is None
    assert "of bundle another" in caplog.text
    (tmp_path / "b" / "experience.json").write_text(text.replace('"count": ', '"count": 1'))
    with pytest.raises(BundleError, match=r"experience.json must be as it was written"):
        read_experience(tmp_path / "b", classifier.bundle_id)


def test_a_saved_copy_keeps_it_and_a_changed_bundle_does_not(trained_run, tmp_path):
    classifier = chiron.load(trained_run.bundle)
    classifier.save(tmp_path / "same")
    assert chiron.load(tmp_path / "same").experience == classifier.experience
    classifier.decision = classifier.decision.model_copy(update={"combine": "max_prob"})
    classifier.save(tmp_path / "other")
    assert chiron.load(tmp_path / "other").experience is None


def test_val_and_other_units_are_not_kept(trained_run, tmp_path, undrawn):
    shutil.copytree(trained_run.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    (run.bundle / "experience.json").unlink()
    evaluate_run(run, split="val")
    assert not (run.bundle / "experience.json").exists()
    evaluate_run(run, split="test")
    assert json.loads((run.bundle / "experience.json").read_text())["experience"]["split"] == "test"
