"""Numbers of units, and of clinical questions, from tables alone."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from chiron.data.predictions import Predictions
from chiron.metrics.clinical_questions import question_numbers
from chiron.spec.decision import Calibration, Decision, Threshold
from chiron.spec.recipe import EvaluateRecipe
from chiron.workflows.numbers import compute_numbers
from chiron.workflows.stored import stored_table


def frame_of(patients: list[str], labels: list[str], logit: np.ndarray) -> pl.DataFrame:
    count = len(patients)
    return pl.DataFrame(
        {
            "sample_id": [f"i{k:04d}" for k in range(count)],
            "patient_id": patients,
            "y_true": labels,
            "status": ["ok"] * count,
            "logit_ill": logit,
            "logit_well": np.zeros(count),
        }
    )


def numbers_of(tmp_path, frame: pl.DataFrame, unit: str, decision: Decision | None = None) -> dict:
    facts = {} if decision is None else {"decision": decision.model_dump(mode="json")}
    Predictions(frame, ("ill", "well"), "ill", facts).save(tmp_path / "t.csv")
    stored = stored_table(tmp_path / "t.csv", unit=unit)
    return compute_numbers(replace(stored, settings=EvaluateRecipe(num_resamples=200)))


def test_with_one_image_a_patient_nothing_changes_but_the_names(tmp_path, random):
    labels = ["ill" if k % 3 == 0 else "well" for k in range(90)]
    logit = random.normal(size=90) + np.array([name == "ill" for name in labels])
    frame = frame_of([f"p{(7 * k) % 90:02d}" for k in range(90)], labels, logit)
    image, patient = (numbers_of(tmp_path, frame, unit) for unit in ("image", "patient"))
    assert patient["unit"]["name"] == "patient"
    beside = patient["image_level"]
    assert beside == {key: image[key] for key in beside}
    for numbers in (image, patient):
        numbers.pop("unit"), numbers.pop("image_level")
    assert json.dumps(image, sort_keys=True) == json.dumps(patient, sort_keys=True)


def test_patients_with_nine_images_count_once(tmp_path):
    """Half of the ill have nine images that are all found, half have one that is missed: half of them are found."""
    patients, labels, logit = [], [], []
    for k in range(40):
        many = k < 20
        patients += [f"ill{k}"] * (9 if many else 1)
        logit += [2.0] * 9 if many else [-2.0]
        labels += ["ill"] * (9 if many else 1)
    patients += [f"well{k}" for k in range(40)]
    labels, logit = [*labels, *["well"] * 40], [*logit, *[-1.0] * 40]
    numbers = numbers_of(tmp_path, frame_of(patients, labels, np.array(logit)), "patient")
    assert numbers["overall"]["sensitivity"]["value"] == 0.5
    assert numbers["overall"]["sensitivity"]["num_images"] == 40
    assert numbers["image_level"]["overall"]["sensitivity"]["value"] == 0.9
    assert (numbers["unit"]["num_units"], numbers["unit"]["num_images"]) == (80, 240)
    found = numbers["questions"]["ill"]
    assert found["counts"] == {"found": 20, "missed": 20, "false_alarms": 0, "rightly_negative": 40}
    assert found["per_1000"]["missed"] == 250
    assert found["sensitivity"]["value"] == 0.5
    assert found["threshold"] is None


def test_a_frozen_threshold_decides_and_its_promise_stands_beside(tmp_path):
    threshold = Threshold(
        question="ill", classes=("ill",), rule="expected", sensitivity=0.9, value=0.2, low=0.1, high=0.3, num_found=45,
        num_positive=50, num_groups=50, fitted_on="cal",
    )  # fmt: skip
    shifted = Calibration(method="temperature", parameters=({"temperature": (2.0,)},), fitted_on="cal")
    decision = Decision(calibration=shifted, thresholds=(threshold,))
    probs = np.array([0.9, 0.25, 0.15, 0.3, 0.1, 0.05])
    logit = 2 * np.log(probs / (1 - probs))  # a temperature of 2 gives them back
    frame = frame_of(list("abcdef"), ["ill"] * 3 + ["well"] * 3, logit)
    numbers = numbers_of(tmp_path, frame, "image", decision)
    told = numbers["questions"]["ill"]
    assert told["counts"] == {"found": 2, "missed": 1, "false_alarms": 1, "rightly_negative": 2}
    assert told["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert told["threshold"]["sensitivity"] == 0.9
    assert told["threshold"]["found_when_fitted"] == 0.9
    np.testing.assert_allclose(Predictions.load(tmp_path / "t.csv").y_prob[:, 0], probs)
    assert numbers["calibration_fit"]["method"] == "temperature"
    assert numbers["calibration_fit"]["by_class"]["ill"]["in_the_large"]["value"] == pytest.approx(0.5 - probs.mean())
    own = (probs**2 / (probs**2 + (1 - probs) ** 2)).mean()  # without the temperature the log-odds are twice as large
    assert numbers["calibration_fit"]["before"]["ill"]["in_the_large"]["value"] == pytest.approx(0.5 - own)
    assert numbers["calibration_fit"]["num_members"] == 1
    assert told["referral"][0]["share"] == 0
    sensitivity, specificity = 2 / 3, 2 / 3
    elsewhere = {it["prevalence"]: it for it in told["at_prevalence"]}
    expected = 0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity))
    assert elsewhere[0.1]["ppv"]["value"] == pytest.approx(expected)
    assert not any(it["stated"] for it in told["at_prevalence"])
    at_20 = next(it for it in told["net_benefit"] if it["threshold"] == 0.2)
    assert at_20["model"]["value"] == pytest.approx(2 / 6 - 1 / 6 * 0.25)  # two found, one false alarm
    elsewhere = {it["prevalence"]: it["points"] for it in told["net_benefit_at_prevalence"]}
    at_20 = next(it for it in elsewhere[0.05] if it["threshold"] == 0.2)
    assert at_20["model"]["value"] == pytest.approx(0.05 * 2 / 3 - 0.95 * 1 / 3 * 0.25)
    other = numbers_of(tmp_path, frame, "patient", decision)
    assert "fitted for the image" in other["unit"]["note"]


def test_a_question_over_classes_sums_their_probabilities(tmp_path, random):
    names = ("mel", "bcc", "nv")
    logits = random.normal(size=(60, 3))
    labels = [names[k % 3] for k in range(60)]
    frame = pl.DataFrame(
        {"sample_id": [str(k) for k in range(60)], "y_true": labels, "status": ["ok"] * 60}
        | {f"logit_{name}": logits[:, k] for k, name in enumerate(names)}
    )
    threshold = Threshold(
        question="malignant", classes=("mel", "bcc"), rule="youden", sensitivity=None, value=0.6, low=None, high=None,
        num_found=1, num_positive=1, num_groups=1, fitted_on="cal",
    )  # fmt: skip
    questions = {"malignant": ("mel", "bcc"), "melanoma": ("mel",)}
    decision = Decision(questions=questions, thresholds=(threshold,))
    Predictions(frame, names, None, {"decision": decision.model_dump(mode="json")}).save(tmp_path / "t.csv")
    asked = compute_numbers(stored_table(tmp_path / "t.csv"))["questions"]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ill = np.array([name != "nv" for name in labels])
    assert list(asked) == ["malignant", "melanoma"]
    assert asked["malignant"]["sensitivity"]["value"] == ((probs[:, 0] + probs[:, 1] >= 0.6) & ill).sum() / ill.sum()
    named = probs.argmax(axis=1) == 0
    is_melanoma = np.array([name == "mel" for name in labels])
    assert asked["melanoma"]["ppv"]["value"] == (named & is_melanoma).sum() / named.sum()


def test_the_prevalence_of_use_is_that_of_the_question_or_of_all_its_classes(tmp_path, random):
    labels = ["ill" if k % 3 == 0 else "well" for k in range(60)]
    frame = frame_of([f"p{k}" for k in range(60)], labels, random.normal(size=60))
    Predictions(frame, ("ill", "well"), "ill", {}).save(tmp_path / "t.csv")
    stored = stored_table(tmp_path / "t.csv")
    context = replace(stored.context, clinic_prevalence={"ill": 0.03})
    told = compute_numbers(replace(stored, context=context))["questions"]["ill"]
    assert [it["prevalence"] for it in told["at_prevalence"] if it["stated"]] == [0.03]
    assert told["net_benefit"] == []  # the probabilities were never calibrated
    assert told["net_benefit_at_prevalence"] == []
    decision = Decision(calibration=Calibration(method="temperature", parameters=({"temperature": (1.0,)},)))
    Predictions(frame, ("ill", "well"), "ill", {"decision": decision.model_dump(mode="json")}).save(tmp_path / "c.csv")
    stored = stored_table(tmp_path / "c.csv")
    context = replace(stored.context, clinic_prevalence={"ill": 0.03})
    told = compute_numbers(replace(stored, context=context))["questions"]["ill"]
    curves = {it["prevalence"]: it for it in told["net_benefit_at_prevalence"]}
    assert list(curves) == [it["prevalence"] for it in told["at_prevalence"]]
    assert [share for share, it in curves.items() if it["stated"]] == [0.03]
    assert curves[0.03]["points"][0]["treat_all"]["value"] == pytest.approx(0.03 - 0.97 * 0.01 / 0.99)


def test_a_finding_that_nobody_was_assessed_for_is_no_question_here(random):
    y_true = random.integers(0, 2, (60, 2)).astype(float)
    y_true[:, 1] = np.nan
    thresholds = tuple(
        Threshold(
            question=name, classes=(name,), rule="point", sensitivity=0.9, value=0.5, low=None, high=None, num_found=9,
            num_positive=10, num_groups=10, fitted_on="cal",
        )
        for name in "ab"
    )  # fmt: skip
    told = question_numbers(
        y_true, random.random((60, 2)), decision=Decision(thresholds=thresholds), classes=("a", "b"), positive=None,
        groups=None, prevalences={}, num_resamples=200, confidence=0.95,
    )  # fmt: skip
    assert list(told) == ["a"]
