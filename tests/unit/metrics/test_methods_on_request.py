"""Intervals in the place of the defaults: what is asked for is what stands there, or null; never another in silence."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from chiron.core.errors import MetricError
from chiron.metrics.evaluation import evaluate
from chiron.metrics.intervals.auroc import delong_variance, placements
from chiron.metrics.multi_label import evaluate_multi_label

ASKED = {"proportion": "clopper_pearson", "auroc": "delong", "resampled": "percentile"}


def data(num_images=160, strength=1.2):
    rng = np.random.default_rng(0)
    y_true = (rng.random(num_images) < 0.4).astype(int)
    score = 1 / (1 + np.exp(-rng.normal(strength * (2 * y_true - 1), 1)))
    return y_true, np.column_stack([1 - score, score])


def evaluated(methods, groups=None, strength=1.2):
    y_true, y_prob = data(strength=strength)
    how = {"classes": ["well", "sick"], "positive": "sick", "groups": groups, "num_resamples": 300}
    return evaluate(y_true, y_prob, **how, methods=methods).overall


def test_each_family_gets_what_was_asked_for():
    y_true, y_prob = data()
    found = evaluated(ASKED)
    called = y_prob[:, 1] > 0.5
    hits = int((called & (y_true == 1)).sum())
    expected = proportion_confint(hits, int(y_true.sum()), method="beta")
    assert (found["sensitivity"].low, found["sensitivity"].high) == pytest.approx(expected, abs=1e-9)
    assert found["sensitivity"].method == "Clopper-Pearson, as requested; every image its own group"
    placed = placements(y_true == 1, y_prob[:, 1], np.arange(len(y_true)))
    half = 1.959963984540054 * np.sqrt(delong_variance(placed))
    assert (found["auroc"].low, found["auroc"].high) == pytest.approx((placed.value - half, placed.value + half))
    assert found["auroc"].method.startswith("DeLong, as requested")
    assert found["mcc"].method.startswith("bootstrap, percentile, as requested")
    assert found["average_precision"].method.startswith("bootstrap, percentile, as requested")


def test_the_rest_keeps_its_default():
    asked, default = evaluated({"auroc": "percentile"}), evaluated(None)
    assert asked["auroc"].method.startswith("bootstrap, percentile, as requested")
    assert asked["auroc"] != default["auroc"]
    assert {key: it for key, it in asked.items() if key != "auroc"} == {
        key: it for key, it in default.items() if key != "auroc"
    }


def test_what_is_undefined_is_null_and_not_another_method():
    found = evaluated({"auroc": "bca", "resampled": "bca"}, strength=30.0)
    assert found["auroc"].value == 1
    assert found["auroc"].low is None
    found = evaluated({"auroc": "delong"}, strength=30.0)
    assert found["auroc"].low is None
    assert "DeLong's variance" in found["auroc"].note


def test_groups_count_for_the_exact_interval_and_plain_delong_says_that_they_do_not():
    groups = [f"p{row // 4}" for row in range(160)]
    found, default = evaluated(ASKED, groups), evaluated(None, groups)
    assert found["sensitivity"].method == "clustered Clopper-Pearson, as requested"
    assert found["auroc"].method == "DeLong, as requested, groups not accounted for"
    assert found["sensitivity"].high - found["sensitivity"].low > 0.95 * (
        default["sensitivity"].high - default["sensitivity"].low
    )


def test_of_several_labels_too():
    rng = np.random.default_rng(0)
    y_true, y_prob = (rng.random((80, 2)) < 0.5).astype(float), rng.random((80, 2))
    found = evaluate_multi_label(
        y_true, y_prob, classes=["a", "b"], groups=None, num_resamples=200, methods=ASKED
    ).to_json()
    assert "percentile, as requested" in found["overall"]["macro_auroc"]["method"]
    assert "Clopper-Pearson" in found["overall"]["exact_match"]["method"]
    assert "DeLong, as requested" in found["per_class"]["a"]["auroc"]["method"]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"aurocs": "delong"}, "methods must be for proportion, auroc, resampled. Got 'aurocs'. Did you mean 'auroc'"),
        ({"auroc": "wald"}, "The method of auroc must be one of delong, percentile, bca. Got 'wald'. Leave it out"),
        ({"calibration": "percentile"}, "Got 'calibration'"),
    ],
)
def test_other_methods_are_refused(methods, message):
    with pytest.raises(MetricError, match=message):
        evaluated(methods)
