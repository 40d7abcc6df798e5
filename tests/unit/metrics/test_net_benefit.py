"""Net benefit against the naive formula, case by case and resample by resample; treat-all, prevalence, refusals."""

import numpy as np
import pytest

from chiron.core.errors import MetricError
from chiron.metrics.intervals.bootstrap import resampled_weights
from chiron.metrics.net_benefit import _Curve, net_benefits, net_benefits_at

THRESHOLDS = [0.5, 0.05, 0.2]  # in any order


def data(num_cases=200, seed=0):
    rng = np.random.default_rng(seed)
    prob = rng.beta(1, 3, num_cases).round(2)  # some equal a threshold
    return prob, rng.random(num_cases) < prob, rng.integers(70, size=num_cases)


def naive(prob, positive, threshold, prevalence=None):
    tp, fp = np.mean((prob >= threshold) & positive), np.mean((prob >= threshold) & ~positive)
    if prevalence is not None:
        tp, fp = prevalence * tp / positive.mean(), (1 - prevalence) * fp / (1 - positive.mean())
    share = positive.mean() if prevalence is None else prevalence
    odds = threshold / (1 - threshold)
    model, everyone = tp - fp * odds, share - (1 - share) * odds
    return model, everyone, model - max(everyone, 0)


@pytest.mark.parametrize("prevalence", [None, 0.03])
def test_every_resample_equals_the_naive_formula(prevalence):
    prob, positive, groups = data()
    curve = _Curve(positive, prob, groups, np.array(THRESHOLDS), [0.5, prevalence])
    (weights,) = resampled_weights(70, 6, num_rows=200, seed=0)
    mine = curve(weights[: curve.num_groups])[1]
    for r, column in enumerate(weights.T):
        rows = np.repeat(np.arange(200), column[groups])
        for t, threshold in enumerate(THRESHOLDS):
            expected = naive(prob[rows], positive[rows], threshold, prevalence)
            np.testing.assert_allclose(mine[:, t, r], expected, atol=1e-12)


def test_estimates_of_the_data():
    prob, positive, groups = data()
    found = net_benefits(prob, positive, groups.tolist(), thresholds=THRESHOLDS, num_resamples=400)
    assert [one.threshold for one in found] == THRESHOLDS
    for one in found:
        expected = naive(prob, positive, one.threshold)
        got = (one.model, one.treat_all, one.over_default)
        assert [it.value for it in got] == pytest.approx(list(expected), abs=1e-12)
        assert one.treat_none == 0
        for it in got:
            assert it.low < it.value < it.high
            assert (it.num_images, it.num_groups) == (200, len(np.unique(groups)))
            assert "cluster bootstrap" in it.method
    assert found[0].treat_all.value < 0
    assert found[0].treat_all.low < 0


def test_curves_at_several_prevalences_are_those_of_one_each():
    prob, positive, groups = data()
    how = {"thresholds": THRESHOLDS, "num_resamples": 200}
    several = net_benefits_at(prob, positive, groups.tolist(), prevalences=[None, 0.05, 0.4], **how)
    for prevalence, curve in zip((None, 0.05, 0.4), several, strict=True):
        assert curve == net_benefits(prob, positive, groups.tolist(), prevalence=prevalence, **how)


def test_copies_inside_groups_do_not_narrow_it():
    prob, positive, _ = data()
    ids = list(range(200))
    once, twice, naively = (
        net_benefits(*rows, thresholds=[0.2], num_resamples=400)[0].model
        for rows in (
            (prob, positive, ids),
            (np.tile(prob, 2), np.tile(positive, 2), ids * 2),
            (np.tile(prob, 2), np.tile(positive, 2), None),
        )
    )
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    assert naively.high - naively.low < 0.85 * (once.high - once.low)


def test_where_no_one_is_treated_there_is_a_value_and_a_reason():
    prob, positive, _ = data()
    (found,) = net_benefits(prob / 2, positive, None, thresholds=[0.9], num_resamples=200)
    assert found.model.value == 0
    assert found.model.low is None
    assert "every resample gives the same value" in found.model.note


def test_treating_all_is_known_at_a_stated_prevalence():
    prob, positive, _ = data()
    (found,) = net_benefits(prob, positive, None, thresholds=[0.1], prevalence=0.2, num_resamples=200)
    assert found.treat_all.value == pytest.approx(0.2 - 0.8 / 9)
    assert (found.treat_all.low, found.treat_all.method) == (None, "by definition")
    assert found.treat_all.note == "known, as the prevalence is stated"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [1.0]}, "threshold probability must lie between 0 and 1. Got 1.0"),
        ({"prevalence": 5.0}, "prevalence must lie between 0 and 1. Got 5.0"),
        ({"positive": np.ones(200, dtype=bool)}, "Got 200 positive of 200"),
    ],
)
def test_refusals(change, message):
    prob, positive, _ = data()
    arguments = {"positive": positive, "thresholds": [0.1], "groups": None} | change
    with pytest.raises(MetricError, match=message):
        net_benefits(prob, arguments.pop("positive"), arguments.pop("groups"), **arguments)
