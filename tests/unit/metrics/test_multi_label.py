"""`evaluate_multi_label`: every class against scikit-learn where it is assessed, means, micro, exact match, errors."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from chiron.core.errors import MetricError
from chiron.metrics.evaluation import evaluate
from chiron.metrics.intervals.proportion import mid_p
from chiron.metrics.multi_label import evaluate_multi_label
from chiron.report.plots import reliability
from chiron.report.sentences import calibration

NAMES = ("a", "b", "c")


def predictions(num_images=240, seed=0, unassessed=0.2, shares=(0.3, 0.15, 0.5)):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_images, len(shares))) < shares).astype(float)
    logits = rng.normal(size=y_true.shape) + 2 * y_true - 1
    y_true[rng.random(y_true.shape) < unassessed] = np.nan
    return y_true, 1 / (1 + np.exp(-logits))


def evaluated(y_true, y_prob, names=NAMES, groups=None, **options):
    found = evaluate_multi_label(y_true, y_prob, classes=names, groups=groups, num_resamples=200, **options).to_json()
    json.dumps(found, allow_nan=False)
    return found


def test_every_class_equals_scikit_learn_on_its_assessed_images():
    y_true, y_prob = predictions()
    found = evaluated(y_true, y_prob)
    aurocs, aps, f1s = [], [], []
    for k, name in enumerate(NAMES):
        rows = ~np.isnan(y_true[:, k])
        truth, prob = y_true[rows, k].astype(int), y_prob[rows, k]
        called = (prob >= 0.5).astype(int)
        results = found["per_class"][name]
        tn, fp, fn, tp = sk.confusion_matrix(truth, called).ravel()
        expected = {
            "auroc": sk.roc_auc_score(truth, prob),
            "average_precision": sk.average_precision_score(truth, prob),
            "sensitivity": sk.recall_score(truth, called),
            "specificity": tn / (tn + fp),
            "precision": sk.precision_score(truth, called),
            "npv": tn / (tn + fn),
            "f1": sk.f1_score(truth, called),
            "brier": sk.brier_score_loss(truth, prob),
        }
        assert {key: results[key]["value"] for key in expected} == pytest.approx(expected)
        assert found["confusion_matrix"]["by_class"][name] == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
        assert results["support"]["images"] == truth.sum()
        assert results["support"]["assessed"] == rows.sum() == results["auroc"]["num_images"]
        assert found["class_counts"][name]["prevalence"]["value"] == pytest.approx(truth.mean())
        aurocs, aps, f1s = [*aurocs, expected["auroc"]], [*aps, expected["average_precision"]], [*f1s, expected["f1"]]
    overall = {key: it["value"] for key, it in found["overall"].items()}
    assert overall["macro_auroc"] == pytest.approx(np.mean(aurocs))
    assert overall["macro_average_precision"] == pytest.approx(np.mean(aps))
    assert overall["macro_f1"] == pytest.approx(np.mean(f1s))
    known = ~np.isnan(y_true)
    assert overall["micro_auroc"] == pytest.approx(sk.roc_auc_score(y_true[known], y_prob[known]))
    assert overall["micro_f1"] == pytest.approx(sk.f1_score(y_true[known], y_prob[known] >= 0.5))
    whole = known.all(axis=1)
    exact = sk.accuracy_score(y_true[whole].astype(int), (y_prob[whole] >= 0.5).astype(int))
    assert overall["exact_match"] == pytest.approx(exact)
    assert found["overall"]["exact_match"]["num_images"] == whole.sum() < len(y_true)


def test_one_fully_assessed_class_is_the_two_class_problem():
    """The same numbers and the same intervals as `evaluate` gives for the class as the positive one of two."""
    y_true, y_prob = predictions(unassessed=0.0)
    groups = [f"p{row // 2}" for row in range(len(y_true))]
    found = evaluated(y_true, y_prob, groups=groups)
    for k, name in enumerate(NAMES):
        probs = np.stack([y_prob[:, k], 1 - y_prob[:, k]], axis=1)
        two = evaluate(
            1 - y_true[:, k].astype(int), probs, classes=(name, "no"), positive=name, groups=groups, num_resamples=200
        ).to_json()
        for key in ("auroc", "average_precision", "sensitivity", "specificity", "npv"):
            assert found["per_class"][name][key] == two["overall"][key]
        assert found["per_class"][name]["ece"]["value"] == pytest.approx(two["overall"]["ece"]["value"])


def test_the_macro_interval_keeps_the_labels_of_an_image_together():
    """Two equal columns are one question asked twice: the mean has the interval of one of them, not a narrower one."""
    y_true, y_prob = predictions(num_images=300, unassessed=0.0, shares=(0.4,))
    once = evaluated(y_true, y_prob, ("a",))["overall"]
    twice = evaluated(np.hstack([y_true] * 2), np.hstack([y_prob] * 2), ("a", "b"))["overall"]
    for key in ("macro_auroc", "macro_average_precision", "macro_f1", "macro_brier"):
        assert (twice[key]["low"], twice[key]["high"]) == pytest.approx((once[key]["low"], once[key]["high"]))
        assert twice[key]["high"] - twice[key]["low"] > 0.01


def test_groups_widen_the_intervals_of_means():
    y_true, y_prob = predictions(num_images=100, unassessed=0.0)
    y_true, y_prob = np.repeat(y_true, 3, axis=0), np.repeat(y_prob, 3, axis=0)
    width = {}
    for name, groups in (("alone", None), ("grouped", [row // 3 for row in range(300)])):
        it = evaluated(y_true, y_prob, groups=groups)["overall"]
        width[name] = [it[key]["high"] - it[key]["low"] for key in ("macro_auroc", "exact_match", "micro_f1")]
    # Without ids an image keeps its own labels together, and copies are taken for further images.
    assert np.all(np.array(width["grouped"]) > 1.4 * np.array(width["alone"]))


def test_classes_that_cannot_be_scored_are_null_with_a_reason_and_left_out_of_means():
    y_true, y_prob = predictions()
    y_true[:, 1] = np.where(np.isnan(y_true[:, 1]), np.nan, 0)
    y_true[:, 2] = np.nan
    found = evaluated(y_true, y_prob)
    assert found["per_class"]["b"]["auroc"]["value"] is None
    assert "class 'b' has no image here" in found["per_class"]["b"]["auroc"]["note"]
    assert found["per_class"]["b"]["specificity"]["value"] is not None
    assert found["per_class"]["c"]["brier"]["note"] == "no image was assessed for this class"
    assert found["curves"]["roc"]["b"] is None is found["curves"]["roc"]["c"]
    assert found["overall"]["macro_auroc"]["value"] == found["per_class"]["a"]["auroc"]["value"]
    assert "left out, as all assessed images say the same: b" in found["overall"]["macro_auroc"]["note"]
    assert "left out, as no image was assessed: c" in found["overall"]["macro_auroc"]["note"]
    assert found["overall"]["exact_match"]["value"] is None
    assert found["overall"]["exact_match"]["note"] == "no image has every class assessed"


def test_the_pooled_calibration_error_has_no_band_and_the_classes_have_theirs():
    """Its labels are not independent: a band that takes them for it left out 12 of 60 calibrated models, not 3."""
    found = evaluated(*predictions())
    assert found["calibration"]["consistency_band"] is None
    assert all(entry["band_low"] is None is entry["band_high"] for entry in found["calibration"]["bins"])
    pooled = found["overall"]["ece"]
    assert pooled["value"] == found["calibration"]["ece"] > 0
    assert pooled["note"].startswith("no band of a calibrated model")
    assert all("a perfectly calibrated model would show" in found["per_class"][name]["ece"]["note"] for name in NAMES)
    assert "there is no band of what a calibrated model would show" in calibration(found)
    drawing = reliability.draw(found)
    assert "gray boxes" not in drawing.caption
    assert "inside the band" not in drawing.alt


def test_an_output_of_exactly_half_is_present():
    found = evaluated(np.array([[1.0], [0.0], [1.0]]), np.array([[0.5], [0.5], [0.49999]]), ("a",))
    assert found["confusion_matrix"]["by_class"]["a"] == {"tp": 1, "fp": 1, "fn": 1, "tn": 0}


def test_the_constant_answer_is_the_commoner_value_of_every_class():
    y_true, y_prob = predictions(unassessed=0.0)
    constant = evaluated(y_true, y_prob)["baselines"]["constant"]
    answer = y_true.mean(axis=0) > 0.5
    assert constant["present"] == [name for name, given in zip(NAMES, answer, strict=True) if given]
    assert constant["exact_match"]["value"] == pytest.approx((y_true == answer).all(axis=1).mean())


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_rows_and_classes_changes_no_number(seed):
    y_true, y_prob = predictions(num_images=60, seed=seed)
    order = np.random.default_rng(seed).permutation(60)
    one, other = evaluated(y_true, y_prob), evaluated(y_true[order], y_prob[order])
    # The last bit may differ: sums are taken in another order.
    same = {"rel": 1e-12, "abs": 0, "nan_ok": True}
    for here, there in (
        (one["overall"]["macro_auroc"], other["overall"]["macro_auroc"]),
        (one["per_class"]["a"]["f1"], other["per_class"]["a"]["f1"]),
    ):
        numbers = ("value", "low", "high")
        assert {key: here[key] for key in here if key not in numbers} == {
            key: there[key] for key in there if key not in numbers
        }
        assert np.array([here[key] for key in numbers], float) == pytest.approx(
            np.array([there[key] for key in numbers], float), **same
        )
    assert one["calibration"]["ece"] == pytest.approx(other["calibration"]["ece"])


@pytest.mark.parametrize(
    ("y_true", "y_prob", "names", "message"),
    [
        ([[1.0, -1.0]], [[0.5, 0.5]], ("a", "b"), "must be 1, 0 or NaN"),
        ([[1.0, 0.0]], [[0.5, 1.5]], ("a", "b"), "Apply a sigmoid"),
        ([[1.0, 0.0]], [[0.5, 0.5]], ("a", "a"), "must name different classes"),
        ([[1.0, 0.0]], [[0.5, 0.5]], ("a",), "one column a class of 1"),
        ([[np.nan, np.nan]], [[0.5, 0.5]], ("a", "b"), "needs assessed labels. Got none"),
    ],
)
def test_what_is_refused(y_true, y_prob, names, message):
    with pytest.raises(MetricError, match=message):
        evaluated(np.array(y_true), np.array(y_prob), names)


def test_a_mean_of_shares_takes_mid_p_limits_of_the_classes():
    y_true = np.zeros((60, 2))
    y_true[:30] = 1
    y_prob = np.where(y_true == 1, 0.9, 0.1)
    y_prob[0, 0] = 0.2  # 29 and all 30 found: what is always the same goes with nothing
    found = evaluated(y_true, y_prob, names=("a", "b"))["overall"]["macro_sensitivity"]
    below = [hits / 30 - mid_p(hits, 30, quantile=stats.norm.ppf(0.975))[0] for hits in (29, 30)]
    assert found["low"] == pytest.approx(found["value"] - np.hypot(*below) / 2, abs=1e-12)
