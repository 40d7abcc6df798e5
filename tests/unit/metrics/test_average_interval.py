"""The mean over classes: its equation by a loop, known special cases, and coverage where a bootstrap fails."""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from chiron.metrics.cases import Cases
from chiron.metrics.estimator import Estimator
from chiron.metrics.intervals.average import average_interval
from chiron.metrics.intervals.bootstrap import percentile_limits
from chiron.metrics.intervals.proportion import clopper_pearson, mid_p, wilson
from chiron.metrics.metric import metrics_for

VALUES = np.array([0.9, 0.8, 0.6])
LIMITS = np.array([(0.8, 0.95), (0.7, 0.9), (0.3, 0.8)])
EQUAL = np.full(3, 1 / 3)


def resamples(seed=0, count=500):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=count)
    return np.stack([0.9 + 0.02 * shared, 0.8 + 0.03 * (shared + rng.normal(size=count)), 0.6 + rng.normal(size=count)])


def test_equal_to_the_sum_over_pairs_of_classes():
    weights, resampled = np.array([0.5, 0.3, 0.2]), resamples()
    correlation = np.corrcoef(resampled)
    interval = average_interval(VALUES, LIMITS, resampled, weights, method="m")
    mean = sum(w * v for w, v in zip(weights, VALUES, strict=True))
    for limit, sign, distances in (
        (interval.low, -1, VALUES - LIMITS[:, 0]),
        (interval.high, 1, LIMITS[:, 1] - VALUES),
    ):
        squared = sum(
            weights[i] * distances[i] * correlation[i, j] * weights[j] * distances[j]
            for i in range(3)
            for j in range(3)
        )
        assert limit == pytest.approx(mean + sign * np.sqrt(squared), abs=1e-12)


def test_classes_that_go_together_add_up_and_independent_ones_add_squares():
    line = np.linspace(0, 1, 200)
    together = average_interval(VALUES, LIMITS, np.stack([line, line, line]), EQUAL, method="m")
    assert together.low == pytest.approx(LIMITS[:, 0].mean(), abs=1e-12)
    assert together.high == pytest.approx(LIMITS[:, 1].mean(), abs=1e-12)
    constant = average_interval(VALUES, LIMITS, np.stack([np.full(200, value) for value in VALUES]), EQUAL, method="m")
    assert constant.low == pytest.approx(VALUES.mean() - np.linalg.norm(VALUES - LIMITS[:, 0]) / 3, abs=1e-12)


def test_order_of_classes_changes_no_digit():
    order = [2, 0, 1]
    first = average_interval(VALUES, LIMITS, resamples(), EQUAL, method="m")
    assert first == average_interval(VALUES[order], LIMITS[order], resamples()[order], EQUAL, method="m")


@pytest.mark.parametrize(("undefined", "is_null"), [(0, False), (25, False), (26, True)])
def test_resamples_without_a_class_are_counted_and_above_five_percent_the_interval_is_null(undefined, is_null):
    resampled = resamples()
    resampled[1, :undefined] = np.nan
    interval = average_interval(VALUES, LIMITS, resampled, EQUAL, method="m")
    assert (interval.low is None) == is_null
    assert interval.note is None if undefined == 0 else f"{undefined} of 500 resamples" in interval.note


def test_covers_a_balanced_accuracy_near_one_where_the_percentile_bootstrap_does_not():
    rng, sets, quantile = np.random.default_rng(3), 600, stats.norm.ppf(0.975)
    counts, shares = np.array([120, 30]), np.array([0.95, 0.95])
    held = by_percentile = 0
    for _ in range(sets):
        right = rng.binomial(counts, shares)
        resampled = rng.binomial(counts, right / counts, size=(300, 2)).T / counts[:, np.newaxis]
        limits = np.array(
            [wilson(float(k), float(n), quantile=float(quantile)) for k, n in zip(right, counts, strict=True)]
        )
        interval = average_interval(right / counts, limits, resampled, np.full(2, 0.5), method="m")
        low, high = percentile_limits(resampled.mean(axis=0))
        held += interval.low <= 0.95 <= interval.high
        by_percentile += low <= 0.95 <= high
    error = np.sqrt(0.935 * 0.065 / sets)
    assert held / sets >= 0.935 - 3 * error
    assert by_percentile / sets < 0.935 - 3 * error


def test_of_shares_near_one_mid_p_limits_cover_where_those_of_wilson_do_not():
    rng, sets = np.random.default_rng(4), 1000
    counts, share = np.array([1339, 222, 219, 103, 65, 29, 23]), 0.995
    apart = np.eye(7, 100)  # resamples in which classes have nothing to do with each other
    held = {mid_p: 0, wilson: 0}
    limits_of = cache(lambda method, right, of: method(float(right), float(of), quantile=1.959964))
    for _ in range(sets):
        right = rng.binomial(counts, share)
        for method in held:
            limits = np.array([limits_of(method, k, n) for k, n in zip(right, counts, strict=True)])
            interval = average_interval(right / counts, limits, apart, np.full(7, 1 / 7), method="m")
            held[method] += interval.low <= share <= interval.high
    error = np.sqrt(0.935 * 0.065 / sets)
    assert held[mid_p] / sets >= 0.935 - 3 * error
    assert held[wilson] / sets < 0.935 - 3 * error


@pytest.mark.parametrize("methods", [None, {"proportion": "clopper_pearson"}])
def test_a_mean_of_shares_takes_mid_p_limits_of_the_classes_unless_others_are_requested(methods):
    rng = np.random.default_rng(2)
    y_true = rng.integers(3, size=120)
    y_prob = np.eye(3)[np.where(rng.random(120) < 0.9, y_true, rng.integers(3, size=120))] * 0.5 + 0.5 / 3
    cases = Cases(
        y_true=y_true,
        y_prob=y_prob,
        y_pred=y_prob.argmax(axis=1),
        group_index=np.arange(120),
        num_groups=120,
        classes=("a", "b", "c"),
        positive_index=None,
        groups_given=False,
    )
    metrics = metrics_for(3)
    it = Estimator(cases, metrics, num_resamples=300, confidence=0.95, seed=0, methods=methods)
    counts = np.bincount(y_true)
    right = np.bincount(y_true[cases.y_pred == y_true])
    of_class = clopper_pearson if methods else lambda k, n: mid_p(k, n, quantile=stats.norm.ppf(0.975))
    limits = np.array([of_class(float(k), float(n)) for k, n in zip(right, counts, strict=True)])
    resampled = np.stack([it.resampled(("sensitivity", index))[1] for index in range(3)])
    expected = average_interval(right / counts, limits, resampled, EQUAL, method="m")
    found = it.overall(metrics["balanced_accuracy"])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
