"""Subgroups, strata, readers and worst case from a table of predictions, each as a key of the numbers."""

import json
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from chiron.data.phantoms.canvas import generator_of
from chiron.data.phantoms.planted import Planted
from chiron.data.phantoms.signs import draw_signs
from chiron.data.phantoms.skin import draw_skin, fitzpatrick_of
from chiron.data.predictions import Predictions
from chiron.metrics.holm import holm
from chiron.spec.recipe import EvaluateRecipe
from chiron.workflows import analyses
from chiron.workflows.numbers import compute_numbers
from chiron.workflows.stored import Stored, stored_table


def stored(frame: pl.DataFrame, classes=("well", "sick"), positive="sick", facts=None, subgroups=()) -> Stored:
    from chiron.report.context import ReportContext

    words = dict.fromkeys(("title", "model", "init", "recipe_text", "data_source", "reader", "grouping"), "x")
    context = ReportContext(
        **words, splits={}, num_unreadable=0, leaks_accepted=[], test_looks=None, split_scored="test", environment={}
    )
    settings = EvaluateRecipe(num_resamples=200, subgroups=subgroups)
    return Stored(Predictions(frame, classes, positive, facts or {}), context, settings)


def table(n: int = 200, **columns) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    sick = np.arange(n) % 5 < 2
    prob = np.clip(0.5 + 0.25 * rng.normal(size=n) + 0.3 * (sick - 0.5), 0.01, 0.99)
    return pl.DataFrame(
        {
            "sample_id": [f"i{k:04d}" for k in range(n)],
            "patient_id": [f"p{k // 2:04d}" for k in range(n)],
            "y_true": np.where(sick, "sick", "well"),
            "status": ["ok"] * n,
            "prob_well": 1 - prob,
            "prob_sick": prob,
            **columns,
        }
    )


def skin_set(tone_error: float, *, patients: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """What the skin phantoms show of mel and nv: signs, classes and skin types, without drawing the pictures."""
    planted, features, labels, types = Planted(tone_error=tone_error), [], [], []
    for patient in range(patients):
        tone = draw_skin(generator_of("test", seed, patient, "skin")).tone
        kept = planted.sign_strength(float(np.clip((tone - 0.30) / 0.40, 0, 1)))
        label = ("mel", "nv")[int(generator_of("test", seed, patient, "label").uniform() < 0.6)]
        signs = draw_signs(label, generator_of("test", seed, patient, "signs"), difficulty=0.5, kept=kept)
        features.append(list(asdict(signs).values()))
        labels.append(label)
        types.append("dark" if fitzpatrick_of(tone) in ("IV", "V", "VI") else "light")
    return np.array(features, dtype=float), np.array(labels), types


@pytest.mark.parametrize("tone_error", [0.0, 1.0])
def test_an_error_in_dark_skin_is_found_where_it_is_planted_and_nowhere_else(tone_error):
    learned, answers, _ = skin_set(tone_error, patients=600, seed=0)
    model = LogisticRegression(max_iter=2000).fit(learned, answers)
    features, labels, types = skin_set(tone_error, patients=900, seed=1)
    prob = model.predict_proba(features)
    frame = pl.DataFrame(
        {
            "sample_id": [f"i{k:04d}" for k in range(len(labels))],
            "y_true": labels,
            "status": ["ok"] * len(labels),
            "prob_mel": prob[:, 0],
            "prob_nv": prob[:, 1],
            "skin_tone": types,
            "sex": np.where(np.arange(len(labels)) % 3 == 0, "male", "female"),
        }
    )
    tone, sex = analyses.subgroups(stored(frame, ("mel", "nv"), "mel"))
    assert (tone["attribute"], sex["attribute"]) == ("skin_tone", "sex")
    gap = tone["groups"]["dark"]["difference_to_rest"]
    if tone_error:
        assert tone["interaction"]["p_adjusted"] < 0.001
        assert gap["auroc"]["high"] < 0
    else:
        assert tone["interaction"]["p_adjusted"] > 0.05
        assert all(gap[key]["low"] < 0 < gap[key]["high"] for key in gap)
    assert sex["interaction"]["p_adjusted"] > 0.05
    assert not tone["planned"]


def test_planned_columns_come_first_and_missing_ones_are_told():
    frame = table(site=["a", "b"] * 100, sex=["male", None] * 100)
    told = analyses.subgroups(stored(frame, subgroups=("sex", "race"), facts={"subgroups": ["site"]}))
    assert [(it["attribute"], it["planned"]) for it in told] == [("sex", True), ("site", False), ("race", True)]
    assert set(told[0]["groups"]) == {"male", "not recorded"}
    assert told[2]["note"] == "no such column in these data"


def test_every_class_is_a_question_and_of_several_labels_the_assessed_images_count():
    rng = np.random.default_rng(1)
    probs = rng.dirichlet((1, 1, 1), size=150)
    frame = pl.DataFrame(
        {
            "sample_id": [f"i{k}" for k in range(150)],
            "y_true": [("a", "b", "c")[k % 3] for k in range(150)],
            "status": ["ok"] * 150,
            "sex": ["male", "female"] * 75,
            **{f"prob_{name}": probs[:, k] for k, name in enumerate("abc")},
        }
    )
    told = analyses.subgroups(stored(frame, ("a", "b", "c"), None))
    assert [it["question"] for it in told] == ["a", "b", "c"]
    smallest = min((it["interaction"] for it in told), key=lambda test: test["p_value"])
    assert smallest["p_adjusted"] == pytest.approx(min(1, 3 * smallest["p_value"]))
    several = pl.DataFrame(
        {
            "sample_id": [f"i{k}" for k in range(60)],
            "y_true_x": [1, 0, None] * 20,
            "y_true_y": [1, 1, 0] * 20,
            "status": ["ok"] * 60,
            "sex": ["male", "female"] * 30,
            "prob_x": rng.uniform(size=60),
            "prob_y": rng.uniform(size=60),
        }
    )
    first, second = analyses.subgroups(stored(several, ("x", "y"), None))
    assert sum(group["images"] for group in first["groups"].values()) == 40
    assert sum(group["images"] for group in second["groups"].values()) == 60


def test_strata_of_the_reference_standard():
    frame = table(dx_type=["histo", "follow_up", "histo", "histo", None] * 40)
    (told,) = analyses.strata(stored(frame))
    assert told["attribute"] == "dx_type"
    assert {name: entry["images"] for name, entry in told["groups"].items()} == {
        "histo": 120, "follow_up": 40, "not recorded": 40,
    }  # fmt: skip
    part = frame.filter(pl.col("dx_type") == "follow_up", pl.col("y_true") == "sick")
    found = told["groups"]["follow_up"]["questions"]["sick"]["sensitivity"]
    assert found["value"] == pytest.approx((part["prob_sick"] > 0.5).mean())
    assert told["groups"]["histo"]["questions"]["sick"]["specificity"]["value"] is not None


def test_failed_cases_are_counted_and_once_wrong():
    frame = table()
    state = ["ok"] * 190 + ["unreadable"] * 6 + ["indeterminate"] * 2 + ["excluded", "no_reference"]
    labels = [*frame["y_true"][:196], None, None, *frame["y_true"][198:]]
    told = analyses.worst(stored(frame.with_columns(pl.Series("status", state), pl.Series("y_true", labels))))
    assert told["statuses"] == {"excluded": 1, "indeterminate": 2, "no_reference": 1, "ok": 190, "unreadable": 6}
    sick = told["questions"]["sick"]
    in_failed = sum(label == "sick" for label in labels[190:196])
    assert (sick["failed_positives"], sick["failed_negatives"]) == (in_failed + 2, 6 - in_failed + 2)
    assert "counts as wrong for both" in sick["note"]
    assert sick["sensitivity_worst"]["value"] < sick["sensitivity"]["value"]
    assert sick["sensitivity_worst"]["num_images"] == sick["sensitivity"]["num_images"] + in_failed + 2
    assert analyses.worst(stored(frame))["questions"] == {}


def test_readers_who_name_classes_who_say_yes_or_no_and_who_rate():
    frame = table()
    said = np.where(np.arange(200) % 7 == 0, "sick", frame["y_true"].to_numpy()).tolist()
    frame = frame.with_columns(
        pl.Series("reader_anna", [*said[:150], *[None] * 50]),
        pl.Series("reader_bob", (frame["y_true"] == "sick").cast(pl.Int64).cast(pl.String)),
        pl.Series("reader_eva", [str(k % 5) for k in range(200)]),
        pl.Series("reader_comment", ["blurred"] * 200),
    )
    told = {it["reader"]: it for it in analyses.readers(stored(frame))}
    assert (told["anna"]["images"], told["anna"]["not_answered"]) == (150, 50)
    assert told["bob"]["kappa_with_reference"]["value"] == 1
    assert told["bob"]["points"][0]["sensitivity"]["value"] == 1
    assert told["bob"]["model_against_reader"]["sensitivity"]["model_only_right"] == 0
    assert [point["from"] for point in told["eva"]["points"]] == [1, 2, 3, 4]
    assert "not 'blurred'" in told["comment"]["note"]


def test_a_reader_of_many_classes_has_an_agreement_over_all_and_one_a_class():
    rng = np.random.default_rng(1)
    labels = [("a", "b", "c")[k % 3] for k in range(90)]
    frame = pl.DataFrame(
        {
            "sample_id": [f"i{k}" for k in range(90)],
            "y_true": labels,
            "status": ["ok"] * 90,
            "reader_x": [label if k % 4 else "a" for k, label in enumerate(labels)],
            "reader_n": ["1"] * 90,
            **{f"prob_{name}": column for name, column in zip("abc", rng.dirichlet((1, 1, 1), size=90).T, strict=True)},
        }
    )
    told = analyses.readers(stored(frame, ("a", "b", "c"), None))
    assert [(it["reader"], it.get("question")) for it in told] == [
        ("n", None), ("x", None), ("x", "a"), ("x", "b"), ("x", "c"),
    ]  # fmt: skip
    assert "of more classes a reader names one" in told[0]["note"]
    tests = [test for it in told[2:] for test in it["model_against_reader"].values()]
    assert [test["p_adjusted"] for test in tests] == holm([test["p_value"] for test in tests])[0]  # one family of six


def test_all_keys_stand_in_the_numbers_as_plain_json(tmp_path):
    frame = table(sex=["male", "female"] * 100, dx_type=["histo"] * 200, reader_anna=["sick", "well"] * 100)
    frame.write_csv(tmp_path / "p.csv")
    numbers = compute_numbers(stored_table(tmp_path / "p.csv", positive="sick"))
    json.dumps(numbers, allow_nan=False)
    assert {"subgroups", "strata", "worst_case", "readers"} <= set(numbers)
    assert numbers["readers"][0]["reader"] == "anna"


def test_an_external_set_may_hold_one_class():
    frame = table().filter(pl.col("y_true") == "sick").with_columns(pl.lit("sick").alias("reader_anna"))
    (told,) = analyses.readers(stored(frame))
    assert told["points"][0]["specificity"]["value"] is None
    assert told["model_against_reader"]["specificity"] is None
    assert told["kappa_with_reference"]["value"] is None
