"""Kappa against scikit-learn, McNemar's mid-p against its definition, both with groups."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from chiron.metrics.raters import IDENTICAL, kappa, mcnemar


@pytest.mark.parametrize("categories", [2, 5])
def test_kappa_is_scikit_learns(random, categories):
    first = random.integers(categories, size=200)
    second = np.where(random.uniform(size=200) < 0.6, first, random.integers(categories, size=200))
    estimate = kappa(first, second, np.arange(200), num_categories=categories, num_resamples=300)
    assert estimate.value == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert estimate.low < estimate.value < estimate.high
    groups = np.arange(200) // 4
    same = first[groups * 4], second[groups * 4]  # four images that are alike
    clustered = kappa(*same, groups, num_categories=categories, num_resamples=300)
    naive = kappa(*same, np.arange(200), num_categories=categories, num_resamples=300)
    assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)


def test_kappa_by_chance_has_limits_on_both_sides_of_zero(random):
    """The least kappa is -1, so that a value at or below 0 is not at the end of its range."""
    first, second = np.tile([0, 1], 30), np.repeat([0, 1], 30)
    second[:2] = 1 - first[:2]
    estimate = kappa(first, second, np.arange(60), num_categories=2, num_resamples=300)
    assert estimate.value <= 0.05
    assert estimate.low < 0 < estimate.high
    assert "logit t" in estimate.method


def test_kappa_without_any_variety_is_not_defined():
    ones = np.ones(30, np.int64)
    estimate = kappa(ones, ones, np.arange(30), num_categories=2)
    assert (estimate.value, estimate.low) == (None, None)
    assert "one and the same answer" in estimate.note


@pytest.mark.parametrize(("first_only", "second_only"), [(8, 2), (3, 3), (0, 1), (12, 5)])
def test_mid_p_by_its_definition(first_only, second_only):
    first = np.repeat([True, False, True], [first_only, second_only, 40])
    second = np.repeat([False, True, True], [first_only, second_only, 40])
    paired = mcnemar(first, second, np.arange(len(first)))
    fewer, total = min(first_only, second_only), first_only + second_only
    exact = 2 * stats.binom.cdf(fewer, total, 0.5)
    assert paired.p_value == pytest.approx(min(1, exact - stats.binom.pmf(fewer, total, 0.5)))
    assert (paired.first_only, paired.second_only) == (first_only, second_only)
    assert paired.p_value == mcnemar(second, first, np.arange(len(first))).p_value


def test_identical_answers_have_p_1():
    right = np.array([True, False, True])
    paired = mcnemar(right, right, np.arange(3))
    assert (paired.p_value, paired.method) == (1.0, IDENTICAL)


def test_clusters_make_the_test_careful():
    """Four images of each patient that are alike count as one."""
    first, second = np.repeat([True, False], [36, 12]), np.repeat([False, True], [36, 12])
    clustered, naive = mcnemar(first, second, np.arange(48) // 4), mcnemar(first, second, np.arange(48))
    assert naive.p_value < 0.001
    assert clustered.p_value == pytest.approx(mcnemar(first[::4], second[::4], np.arange(12)).p_value)
    assert "clustered" in clustered.method


def test_type_one_error_of_the_clustered_test(random):
    rejected = []
    for _ in range(600):
        groups = np.arange(60).repeat(3)
        first, second = (random.uniform(size=60)[groups] * 0.5 + 0.5 * random.uniform(size=180) > 0.3 for _ in "ab")
        rejected.append(mcnemar(first, second, groups).p_value < 0.05)
    assert np.mean(rejected) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
