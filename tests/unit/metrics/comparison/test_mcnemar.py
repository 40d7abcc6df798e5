"""McNemar's test and the interval of a paired difference, with and without groups."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chiron.core.errors import MetricError
from chiron.metrics.comparison.mcnemar import (
    mcnemar_p,
    mcnemar_statistic,
    paired_shares,
    share_difference_limits,
    share_variance,
)


def shares_of(only_first: int, only_second: int, same: int):
    """Rows of their own groups: counts of the four-fold table, those alike all right."""
    first = np.repeat([1.0, 0.0, 1.0], [only_first, only_second, same])
    second = np.repeat([0.0, 1.0, 1.0], [only_first, only_second, same])
    return paired_shares(first, second, np.arange(len(first)))


def test_published_examples():
    """Airway hyper-responsiveness (Fagerland et al. 2013, table 1) and approval of the minister (Agresti, table 10.1)."""
    shares = shares_of(1, 7, 13)
    assert mcnemar_p(shares, exact=True) == pytest.approx(0.070, abs=5e-4)
    assert mcnemar_p(shares) == pytest.approx(0.039, abs=5e-4)
    assert stats.chi2.sf(mcnemar_statistic(shares), 1) == pytest.approx(0.034, abs=5e-4)
    shares = shares_of(150, 86, 1364)
    assert mcnemar_statistic(shares) == pytest.approx(17.36, abs=5e-3)
    assert share_difference_limits(shares) == pytest.approx((-0.0588, -0.0213), abs=3e-4)


@given(st.integers(0, 60), st.integers(0, 60))
def test_exact_is_the_binomial_test(b, c):
    shares = shares_of(b, c, 5)
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_p(shares, exact=True) == pytest.approx(expected, abs=1e-12)
    halved = 1.0 if b == c else expected - stats.binom.pmf(min(b, c), b + c, 0.5)
    assert mcnemar_p(shares) == pytest.approx(halved, abs=1e-12)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-4, 4)), min_size=1, max_size=9))
def test_groups_are_tested_over_all_signs(groups):
    sizes = [size for size, _ in groups]
    net = [int(np.clip(count, -size, size)) for size, count in groups]
    first = np.concatenate(
        [np.repeat([float(d < 0), 0.0], [abs(d), m - abs(d)]) for m, d in zip(sizes, net, strict=True)]
    )
    second = np.concatenate(
        [np.repeat([float(d > 0), 0.0], [abs(d), m - abs(d)]) for m, d in zip(sizes, net, strict=True)]
    )
    shares = paired_shares(first, second, np.repeat(np.arange(len(sizes)), sizes))
    sums = np.array([np.dot(signs, net) for signs in itertools.product((-1, 1), repeat=len(net))])
    observed = abs(sum(net))
    assert mcnemar_p(shares, exact=True) == pytest.approx(np.mean(np.abs(sums) >= observed), abs=1e-12)
    half = np.mean(np.abs(sums) >= observed) - (np.mean(np.abs(sums) == observed) / 2 if observed else 0)
    assert mcnemar_p(shares) == pytest.approx(half, abs=1e-12)
    if any(net):
        assert mcnemar_statistic(shares) == pytest.approx(sum(net) ** 2 / np.sum(np.square(net)))


def test_models_that_never_disagree_have_p_one_and_limits_of_some_width():
    shares = shares_of(0, 0, 50)
    assert mcnemar_p(shares) == mcnemar_p(shares, exact=True) == 1.0
    assert np.isnan(mcnemar_statistic(shares))
    low, high = share_difference_limits(shares)
    assert low == -high
    assert 0.03 < high < 0.08


def test_limits_are_those_of_bonett_and_price():
    """By hand: 12 and 4 of 100, half a row a cell."""
    shares = shares_of(4, 12, 84)
    first, second = 5 / 102, 13 / 102
    half = 1.959963984540054 * np.sqrt((first + second - (second - first) ** 2) / 102)
    assert share_difference_limits(shares) == pytest.approx((second - first - half, second - first + half), abs=1e-12)
    wide = share_difference_limits(shares, confidence=0.99)
    assert wide[0] < second - first - half < second - first + half < wide[1]


def test_copies_of_every_row_add_no_knowledge(random):
    first, second = (random.random(80) < 0.8).astype(float), (random.random(80) < 0.7).astype(float)
    alone = paired_shares(first, second, np.arange(80))
    copied = paired_shares(np.repeat(first, 4), np.repeat(second, 4), np.repeat(np.arange(80), 4))
    assert mcnemar_p(copied) == pytest.approx(mcnemar_p(alone), abs=1e-12)
    assert mcnemar_statistic(copied) == pytest.approx(mcnemar_statistic(alone))
    widths = [np.ptp(share_difference_limits(shares)) for shares in (alone, copied)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)  # t in place of normal, n / (n - 1)
    change = second - first
    assert share_variance(np.repeat(change, 4), np.repeat(np.arange(80), 4)) == pytest.approx(
        share_variance(change, np.arange(80)), abs=1e-15
    )


def test_the_variance_of_single_rows_is_the_sample_variance(random):
    change = random.normal(size=50)
    assert share_variance(change, random.permutation(50)) == pytest.approx(change.var(ddof=1) / 50, abs=1e-15)
    assert np.isnan(share_variance(change, np.zeros(50, dtype=np.int64)))


def test_one_group_has_no_limits_and_no_rows_are_refused():
    shares = paired_shares(np.array([1.0, 0.0]), np.array([0.0, 0.0]), np.zeros(2, dtype=np.int64))
    assert share_difference_limits(shares) is None
    empty = np.zeros(0)
    with pytest.raises(MetricError, match="needs rows that count"):
        paired_shares(empty, empty, np.zeros(0, dtype=np.int64))
