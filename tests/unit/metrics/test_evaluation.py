"""`evaluate`: the JSON form, values against scikit-learn, groups, undefined numbers and refusals."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from chiron.core.errors import MetricError
from chiron.metrics.evaluation import evaluate

ESTIMATE_KEYS = {"value", "low", "high", "method", "num_images", "num_groups", "num_positive_groups", "note"}
COMMON = {"accuracy", "balanced_accuracy", "brier", "log_loss", "ece", "mcc", "kappa"} | {
    *(f"{average}_{key}" for average in ("macro", "weighted", "micro") for key in ("precision", "sensitivity", "f1")),
    *(f"{average}_{key}" for average in ("macro", "weighted") for key in ("specificity", "npv")),
}
RANKS = {"auroc", "partial_auroc", "average_precision"}
OF_CLASS = {"sensitivity", "specificity", "npv", "f1", "positive_likelihood_ratio", "negative_likelihood_ratio"} | {
    *RANKS,
    *(f"sensitivity_at_specificity_{percent}" for percent in (90, 95)),
    *(f"specificity_at_sensitivity_{percent}" for percent in (90, 95)),
}


def predictions(num_images=200, num_classes=3, seed=0, strength=1.5):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(num_classes, size=num_images)
    logits = rng.normal(size=(num_images, num_classes)) + strength * np.eye(num_classes)[y_true]
    return y_true, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def evaluated(y_true, y_prob, classes=("a", "b", "c"), groups=None, positive=None, num_resamples=200, **options):
    evaluation = evaluate(
        y_true, y_prob, classes=classes, positive=positive, groups=groups, num_resamples=num_resamples, **options
    ).to_json()
    json.dumps(evaluation, allow_nan=False)
    return evaluation


def estimates(node, path=""):
    """Every estimate of the JSON form with its path."""
    if isinstance(node, dict) and set(node) == ESTIMATE_KEYS:
        yield path, node
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from estimates(child, f"{path}/{key}")


def test_json_form_of_many_classes():
    evaluation = evaluated(*predictions(), groups=[f"p{i // 2}" for i in range(200)])
    assert list(evaluation) == [
        *["format", "num_images", "num_groups", "classes", "positive_class", "confidence_level", "num_resamples"],
        *["class_counts", "baselines", "overall", "per_class", "confusion_matrix", "calibration", "curves"],
    ]
    assert evaluation["format"] == 1
    assert (evaluation["num_images"], evaluation["num_groups"], evaluation["positive_class"]) == (200, 100, None)
    assert set(evaluation["overall"]) == COMMON | {
        *("macro_auroc", "weighted_auroc", "macro_average_precision", "weighted_average_precision"),
        "macro_partial_auroc",
    }
    for of_class in evaluation["per_class"].values():
        assert set(of_class) == {"support", "precision"} | OF_CLASS
        assert set(of_class["support"]) == {"images", "groups"}
    assert set(evaluation["curves"]["roc"]) == {"a", "b", "c"}
    assert set(evaluation["calibration"]) == {"ece", "ece_bias_corrected", "consistency_band", "bins"}
    bins = evaluation["calibration"]["bins"]
    assert [(one["low"], one["high"]) for one in bins] == [(i / 10, (i + 1) / 10) for i in range(10)]
    assert sum(one["count"] for one in bins) == 200
    assert set(bins[0]) == {"low", "high", "count", "confidence", "accuracy", "band_low", "band_high"}
    assert bins[0]["accuracy"] is None  # the confidence of three classes is at least a third


def test_json_form_of_two_classes_names_the_positive_one():
    y_true, y_prob = predictions(num_classes=2)
    evaluation = evaluated(y_true, y_prob, classes=["sick", "well"], positive="sick")
    assert set(evaluation["overall"]) == COMMON | OF_CLASS | {"ppv"}
    assert set(evaluation["curves"]["roc"]) == {"sick"}
    overall, sick = evaluation["overall"], evaluation["per_class"]["sick"]
    assert overall["sensitivity"] == sick["sensitivity"]
    assert overall["ppv"] == sick["precision"]
    is_sick, called_sick = y_true == 0, y_prob.argmax(axis=1) == 0
    assert overall["sensitivity"]["value"] == pytest.approx(sk.recall_score(is_sick, called_sick), abs=1e-12)
    assert overall["npv"]["value"] == pytest.approx(sk.precision_score(~is_sick, ~called_sick), abs=1e-12)
    assert overall["brier"]["value"] == pytest.approx(sk.brier_score_loss(is_sick, y_prob[:, 0]), abs=1e-12)
    assert overall["auroc"]["value"] == pytest.approx(sk.roc_auc_score(is_sick, y_prob[:, 0]), abs=1e-12)


def test_values_equal_scikit_learn():
    y_true, y_prob = predictions()
    y_pred, overall = y_prob.argmax(axis=1), evaluated(y_true, y_prob)["overall"]
    expected = {
        "accuracy": sk.accuracy_score(y_true, y_pred),
        "balanced_accuracy": sk.balanced_accuracy_score(y_true, y_pred),
        "macro_precision": sk.precision_score(y_true, y_pred, average="macro"),
        "macro_f1": sk.f1_score(y_true, y_pred, average="macro"),
        "weighted_precision": sk.precision_score(y_true, y_pred, average="weighted"),
        "weighted_sensitivity": sk.recall_score(y_true, y_pred, average="weighted"),
        "weighted_f1": sk.f1_score(y_true, y_pred, average="weighted"),
        "micro_f1": sk.f1_score(y_true, y_pred, average="micro"),
        "log_loss": sk.log_loss(y_true, y_prob),
        "macro_auroc": sk.roc_auc_score(y_true, y_prob, average="macro", multi_class="ovr"),
        "macro_average_precision": sk.average_precision_score(np.eye(3)[y_true], y_prob, average="macro"),
    }
    assert {key: overall[key]["value"] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert overall["macro_sensitivity"] == overall["balanced_accuracy"]
    assert overall["weighted_sensitivity"] == overall["accuracy"]


def test_confusion_matrix_has_reference_rows():
    y_true, y_prob = np.array([0, 0, 1]), np.array([[0.1, 0.9, 0], [0.1, 0.9, 0], [0, 1, 0]])
    matrix = evaluated(y_true, y_prob)["confusion_matrix"]
    assert matrix == {"labels": ["a", "b", "c"], "counts": [[0, 2, 0], [0, 1, 0], [0, 0, 0]]}


def test_without_groups_every_image_is_its_own_and_the_method_says_so():
    y_true, y_prob = predictions()
    evaluation = evaluated(y_true, y_prob)
    accuracy = evaluation["overall"]["accuracy"]
    assert evaluation["num_groups"] == 200
    assert accuracy["method"] == "Wilson; every image its own group"
    right = int((y_prob.argmax(axis=1) == y_true).sum())
    expected = proportion_confint(right, 200, method="wilson")
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(expected, abs=1e-12)
    known = evaluated(y_true, y_prob, groups=[f"p{i}" for i in range(200)])
    assert known["overall"]["accuracy"] == accuracy | {"method": "Wilson"}


def test_doubling_every_image_inside_its_group_does_not_shrink_any_interval():
    y_true, y_prob = predictions()
    ids = [f"p{i}" for i in range(200)]
    once = dict(estimates(evaluated(y_true, y_prob, groups=ids, num_resamples=1000)))
    double = (np.tile(y_true, 2), np.tile(y_prob, (2, 1)))
    twice = dict(estimates(evaluated(*double, groups=ids * 2, num_resamples=1000)))
    naive = dict(estimates(evaluated(*double, num_resamples=1000)))
    for path, estimate in once.items():
        if estimate["low"] is None or "_at_" in path:  # these move in steps, by a bootstrap of them
            continue
        width = estimate["high"] - estimate["low"]
        assert twice[path]["value"] == pytest.approx(estimate["value"], abs=1e-12)
        assert twice[path]["high"] - twice[path]["low"] >= width * (1 - 1e-9), path
        assert naive[path]["high"] - naive[path]["low"] < 0.85 * width, path


def test_numbers_that_an_estimate_rests_on():
    y_true, y_prob = predictions(num_images=100)
    group = np.arange(100) // 4
    per_class = evaluated(y_true, y_prob, groups=group.tolist())["per_class"]["b"]
    predicted, with_class = y_prob.argmax(axis=1) == 1, len(np.unique(group[y_true == 1]))
    sizes = {
        key: (per_class[key]["num_images"], per_class[key]["num_groups"]) for key in ("sensitivity", "specificity")
    }
    assert sizes["sensitivity"] == ((y_true == 1).sum(), with_class)
    assert sizes["specificity"] == ((y_true != 1).sum(), len(np.unique(group[y_true != 1])))
    assert per_class["precision"]["num_images"] == predicted.sum()
    assert per_class["precision"]["num_groups"] == len(np.unique(group[predicted]))
    assert per_class["auroc"]["num_images"] == 100
    assert per_class["auroc"]["num_positive_groups"] == with_class == per_class["support"]["groups"]


def test_baseline_is_the_commonest_class():
    y_true = np.array([0] * 5 + [1] * 12 + [2] * 3)
    _, y_prob = predictions(num_images=20)
    evaluation = evaluated(y_true, y_prob)
    baseline = evaluation["baselines"]["majority_class"]
    assert baseline["class"] == "b"
    assert baseline["accuracy"] == evaluation["class_counts"]["b"]["prevalence"]
    assert baseline["accuracy"]["value"] == 0.6
    assert baseline["balanced_accuracy"]["value"] == pytest.approx(1 / 3)


def test_absent_class_is_null_with_the_reason_and_the_others_stay():
    y_true, y_prob = predictions(num_classes=2)
    with_third = np.column_stack([y_prob * 0.9, np.full(200, 0.1)])
    evaluation = evaluated(y_true, with_third)
    absent = evaluation["per_class"]["c"]
    for key in ("precision", "sensitivity", "f1", "auroc", "average_precision"):
        assert absent[key]["value"] is None
        assert absent[key]["low"] is None
        assert absent[key]["note"] == "class 'c' has no image here"
    assert absent["specificity"]["value"] == 1
    for key in ("balanced_accuracy", "macro_sensitivity", "macro_f1", "macro_auroc", "macro_average_precision"):
        assert evaluation["overall"][key]["value"] is None
        assert "class 'c' has no image here" in evaluation["overall"][key]["note"]
    assert evaluation["overall"]["weighted_f1"]["value"] > 0.5
    assert evaluation["curves"]["roc"]["c"] is None
    two = evaluated(y_true, y_prob, classes=["a", "b"], positive="a")
    assert evaluation["per_class"]["a"]["auroc"]["value"] == pytest.approx(two["per_class"]["a"]["auroc"]["value"])


def test_class_never_predicted_has_no_precision():
    y_true = np.array([0, 1] * 20)
    y_prob = np.tile([0.8, 0.2], (40, 1))
    evaluation = evaluated(y_true, y_prob, classes=["well", "sick"], positive="sick")
    assert evaluation["overall"]["ppv"]["value"] is None
    assert evaluation["overall"]["ppv"]["note"] == "the model never predicts 'sick'"
    assert "never predicts 'sick'" in evaluation["overall"]["macro_precision"]["note"]
    assert evaluation["overall"]["sensitivity"]["value"] == 0
    assert evaluation["overall"]["auroc"]["value"] == 0.5
    assert evaluation["overall"]["auroc"]["low"] < 0.5 < evaluation["overall"]["auroc"]["high"]


def test_perfect_model_never_has_an_interval_of_width_zero():
    y_true = np.arange(90) % 3
    evaluation = evaluated(y_true, np.eye(3)[y_true] * 0.97 + 0.01)
    for path, estimate in estimates(evaluation):
        assert estimate["low"] is None or estimate["low"] < estimate["high"], path
        assert estimate["low"] is not None or estimate["note"], path
    assert "same value" in evaluation["overall"]["brier"]["note"]
    for key in ("balanced_accuracy", "macro_f1", "macro_auroc", "macro_average_precision"):
        assert 0.7 < evaluation["overall"][key]["low"] < evaluation["overall"][key]["high"] == 1
    assert evaluation["per_class"]["a"]["auroc"]["low"] < 1


def test_region_of_validity_is_told_with_the_counts():
    y_true, y_prob = predictions(num_images=60)
    few = np.concatenate([np.flatnonzero(y_true == 0)[:7], np.flatnonzero(y_true > 0)])
    per_class = evaluated(y_true[few], y_prob[few])["per_class"]["a"]
    for key, needed in {"sensitivity": 10, "auroc": 10, "average_precision": 30}.items():
        assert f"too few cases for a reliable interval (7 of {needed} needed" in per_class[key]["note"]
    assert per_class["specificity"]["note"] is None


def test_a_mean_loss_that_few_images_make_up_is_told_to_be_unreliable():
    y_true = np.arange(200) % 2
    right = np.eye(2)[y_true] * 0.98 + 0.01
    y_prob = np.where(np.arange(200)[:, np.newaxis] < 6, right[:, ::-1], right)  # six images lose nearly everything
    log_loss = evaluated(y_true, y_prob, classes=["well", "sick"], positive="sick")["overall"]["log_loss"]
    losses = -np.log(y_prob[np.arange(200), y_true])
    carrying = int(losses.sum() ** 2 / (losses**2).sum())
    assert carrying < 20
    assert f"({carrying} of 20 needed, images that carry the mean)" in log_loss["note"]
    assert evaluated(*predictions())["overall"]["log_loss"]["note"] is None


def test_f1_has_the_interval_of_the_share_of_hits_among_all_calls_and_misses():
    y_true, y_prob = predictions()
    of_class, called = y_true == 1, y_prob.argmax(axis=1) == 1
    low, high = proportion_confint((of_class & called).sum(), (of_class | called).sum(), method="wilson")
    f1 = evaluated(y_true, y_prob)["per_class"]["b"]["f1"]
    assert f1["value"] == pytest.approx(sk.f1_score(of_class, called), abs=1e-12)
    assert (f1["low"], f1["high"]) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)), abs=1e-12)


def test_resamples_without_a_class_make_the_interval_null():
    y_true, y_prob = predictions(num_images=60)
    kept = np.concatenate([np.flatnonzero(y_true == 0)[:2], np.flatnonzero(y_true > 0)])
    macro = evaluated(y_true[kept], y_prob[kept], num_resamples=500)["overall"]["macro_f1"]
    assert macro["value"] is not None
    assert macro["low"] is None
    assert "of 500 resamples leave the value undefined" in macro["note"]


def test_ece_has_a_band_and_no_interval():
    evaluation = evaluated(*predictions())
    ece = evaluation["overall"]["ece"]
    assert ece["value"] == evaluation["calibration"]["ece"]
    assert (ece["low"], ece["high"], ece["method"]) == (None, None, "consistency band")
    low, high = evaluation["calibration"]["consistency_band"]
    assert 0 < low < high
    assert f"{low:.4f} to {high:.4f}" in ece["note"]


def test_interval_of_a_resampled_metric_agrees_with_scipy():
    y_true, y_prob = predictions()
    losses = -np.log(y_prob[np.arange(200), y_true])
    reference = stats.bootstrap((losses,), np.mean, method="BCa", n_resamples=4000, rng=0).confidence_interval
    mine = evaluated(y_true, y_prob, num_resamples=4000)["overall"]["log_loss"]
    assert (mine["low"], mine["high"]) == pytest.approx(tuple(reference), abs=0.1 * (reference.high - reference.low))


def test_same_seed_same_limits_and_row_order_does_not_matter():
    y_true, y_prob = predictions()
    groups = [f"p{i // 3}" for i in range(200)]
    order = np.random.default_rng(0).permutation(200)
    for ids in (groups, None):
        first = dict(estimates(evaluated(y_true, y_prob, groups=ids)))
        shuffled = ids and [ids[i] for i in order]
        second = dict(estimates(evaluated(y_true[order], y_prob[order], groups=shuffled)))
        other_seed = dict(estimates(evaluated(y_true, y_prob, groups=ids, seed=1)))
        for path, estimate in first.items():
            for key in ("value", "low", "high"):
                assert second[path][key] == pytest.approx(estimate[key], abs=1e-9), path
        assert other_seed["/overall/macro_f1"]["low"] != first["/overall/macro_f1"]["low"]


@settings(max_examples=15, deadline=None)
@given(
    num_classes=st.integers(2, 4),
    num_images=st.integers(1, 40),
    num_groups=st.one_of(st.none(), st.integers(1, 12)),
    strength=st.sampled_from([0.0, 2.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_any_predictions_give_ordered_limits_in_range_or_a_reason(num_classes, num_images, num_groups, strength, seed):
    y_true, y_prob = predictions(num_images, num_classes, seed, strength)
    names = [f"c{i}" for i in range(num_classes)]
    groups = None if num_groups is None else [i % num_groups for i in range(num_images)]
    evaluation = evaluated(
        y_true, y_prob, names, groups, names[0] if num_classes == 2 else None, num_resamples=100, seed=seed
    )
    for path, estimate in estimates(evaluation):
        if estimate["value"] is None or estimate["low"] is None:
            assert estimate["low"] is None, path
            assert estimate["high"] is None, path
            assert estimate["note"], path
        else:
            key = path.rsplit("/", 1)[1]
            lowest = -1 if key in ("mcc", "kappa") else 0
            highest = np.inf if key in ("log_loss", "brier") or "likelihood" in key else 1
            assert lowest <= estimate["low"] <= estimate["value"] <= estimate["high"] <= highest, path
            assert estimate["low"] < estimate["high"], path


GOOD = {"y_true": np.array([0, 1]), "y_prob": np.array([[0.9, 0.1], [0.2, 0.8]]), "classes": ["well", "sick"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": None}, "positive one by name, 'well' or 'sick'. Got None"),
        ({"positive": "sik"}, "Did you mean 'sick'"),
        ({"classes": ["a", "b", "c"], "y_prob": np.full((2, 3), 1 / 3), "positive": "a"}, "Pass None"),
        ({"classes": ["a", "a"]}, "two different classes"),
        ({"y_true": np.array([0, 2])}, r"0\.\.1.*Got 2"),
        ({"y_prob": np.array([[0.9, 0.1]])}, r"\(2, 2\). Got \(1, 2\)"),
        ({"y_prob": np.array([[2.0, -1.0], [0.5, 0.5]])}, r"Got \[2.0, -1.0\] in row 0"),
        ({"y_prob": np.array([[0.5, 0.5], [np.nan, 0.5]])}, r"Got \[nan, 0.5\] in row 1"),
        ({"y_prob": np.array([[0.9, 0.1], [0.2, 0.7]])}, "sum to 1.*Got 0.9 in row 1"),
        ({"groups": ["p1"]}, "one id a row, 2. Got 1"),
        ({"groups": ["p1", None]}, "Got None in row 1"),
        ({"num_resamples": 99}, "at least 100. Got 99"),
        ({"confidence": 95}, "between 0 and 1. Got 95"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refusals_say_what_came_and_what_to_do(change, message):
    arguments = GOOD | {"positive": "sick", "groups": None} | change
    with pytest.raises(MetricError, match=message):
        evaluate(arguments.pop("y_true"), arguments.pop("y_prob"), **arguments)


def test_weighted_kappas_stand_where_the_classes_are_in_order():
    y_true, y_prob = predictions()
    plain, ordered = evaluated(y_true, y_prob)["overall"], evaluated(y_true, y_prob, ordinal=True)["overall"]
    assert set(ordered) - set(plain) == {"kappa_linear", "kappa_quadratic"}
    expected = sk.cohen_kappa_score(y_true, y_prob.argmax(axis=1), weights="quadratic")
    assert ordered["kappa_quadratic"]["value"] == pytest.approx(expected, abs=1e-12)


def test_one_class_called_every_time_leaves_mcc_undefined_with_the_reason():
    mcc = evaluated(np.arange(60) % 3, np.tile([0.6, 0.2, 0.2], (60, 1)))["overall"]["mcc"]
    assert mcc["value"] is None
    assert mcc["note"] == "the model predicts 'a' for every image"
