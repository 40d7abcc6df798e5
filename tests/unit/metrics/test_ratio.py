"""Intervals of likelihood ratios: against statsmodels, clusters, ends of the range, coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2

from chiron.metrics.intervals.ratio import AT_ITS_END, METHOD, Rate, ratio_interval


def single(successes, total):
    """So many images, each its own group."""
    return np.arange(total) < successes, np.ones(total, dtype=int)


def interval_of(tp, positives, fp, negatives, **options):
    (a, big_a), (b, big_b) = single(tp, positives), single(fp, negatives)
    zeros_a, zeros_b = np.zeros(positives, dtype=int), np.zeros(negatives, dtype=int)
    first = Rate(np.append(a.astype(int), zeros_b), np.append(big_a, zeros_b))
    second = Rate(np.append(zeros_a, b.astype(int)), np.append(zeros_a, big_b))
    return ratio_interval(first, second, **options)


@pytest.mark.parametrize(("tp", "fp"), [(731, 270), (9, 4), (1, 39)])
def test_of_single_images_it_equals_the_risk_ratio_of_statsmodels(tp, fp):
    positives, negatives = max(20, tp + 78), max(40, fp + 1500)
    interval = interval_of(tp, positives, fp, negatives)
    table = Table2x2(np.array([[tp, positives - tp], [fp, negatives - fp]]))
    assert (interval.low, interval.high) == pytest.approx(table.riskratio_confint(), rel=1e-9)
    assert interval.method == METHOD


def test_copies_inside_groups_do_not_narrow_it():
    rng = np.random.default_rng(0)
    inside = np.arange(120) < 50
    hit = rng.random(120) < np.where(inside, 0.8, 0.2)
    once = ratio_interval(*(Rate((hit & side).astype(int), side.astype(int)) for side in (inside, ~inside)))
    twice = ratio_interval(*(Rate(2 * (hit & side), 2 * side.astype(int)) for side in (inside, ~inside)))
    assert twice.high / twice.low > once.high / once.low
    width = np.log(twice.high / twice.low) / np.log(once.high / once.low)
    assert width == pytest.approx(stats.t.ppf(0.975, 49) / stats.norm.ppf(0.975) * np.sqrt(120 / 119))


@pytest.mark.parametrize(
    ("tp", "fp", "low", "high"),
    [(0, 6, 0.0, None), (20, 6, None, None), (12, 40, None, None), (20, 40, None, None), (12, 0, None, np.inf)],
)
def test_at_an_end_of_its_range_it_has_a_width(tp, fp, low, high):
    interval = interval_of(tp, 20, fp, 40)
    ratio = np.inf if fp == 0 else (tp / 20) / (fp / 40)
    assert interval.method == AT_ITS_END
    assert interval.low <= ratio <= interval.high
    assert interval.low < interval.high
    assert low is None or interval.low == low
    assert high is None or interval.high == high


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_limits_are_around_the_ratio(tp, positives, fp, negatives):
    tp, fp = min(tp, positives), min(fp, negatives)
    if tp == fp == 0:
        return
    interval = interval_of(tp, positives, fp, negatives)
    ratio = np.inf if fp == 0 else (tp / positives) / (fp / negatives)
    assert 0 <= interval.low < interval.high
    assert interval.low <= ratio * (1 + 1e-12)
    assert ratio <= interval.high * (1 + 1e-12)


def test_one_group_on_a_side_has_none():
    first = Rate(np.array([3, 0, 0]), np.array([4, 0, 0]))
    second = Rate(np.array([0, 1, 1]), np.array([0, 4, 4]))
    assert ratio_interval(first, second).note == "all images of a side come from one group"


def test_it_covers():
    """600 sets of 40 positives and 80 negatives, LR- 0.1: 95 % is nominal, 92.3 % three standard errors below."""
    rng, covered = np.random.default_rng(5), 0
    for missed, dismissed in zip(rng.binomial(40, 0.09, 600), rng.binomial(80, 0.9, 600), strict=True):
        interval = interval_of(missed, 40, dismissed, 80)
        covered += interval.low <= 0.1 <= interval.high
    assert covered >= 0.923 * 600
