"""Wilson and Clopper-Pearson against statsmodels and by exact enumeration, mid-P against its definition; the clustered
interval by coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from chiron.core.errors import MetricError
from chiron.metrics.intervals.proportion import clopper_pearson, design_effect, mid_p, proportion_interval, wilson

Z95 = stats.norm.ppf(0.975)


@pytest.mark.parametrize("total", [1, 7, 50, 3000])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_equal_to_statsmodels(total, confidence):
    for successes in {0, 1, total // 3, total - 1, total}:
        mine = wilson(successes, total, quantile=stats.norm.ppf((1 + confidence) / 2))
        reference = proportion_confint(successes, total, alpha=1 - confidence, method="wilson")
        np.testing.assert_allclose(mine, np.clip(reference, 0, 1), rtol=0, atol=1e-12)
        exact = proportion_confint(successes, total, alpha=1 - confidence, method="beta")
        np.testing.assert_allclose(clopper_pearson(successes, total, confidence=confidence), exact, atol=1e-12)


@pytest.mark.parametrize(("successes", "total"), [(0, 1), (1, 7), (3, 10), (299, 300), (300, 300), (0, 40)])
def test_at_a_mid_p_limit_so_many_or_more_have_half_of_five_percent_those_themselves_counted_half(successes, total):
    low, high = mid_p(successes, total, quantile=Z95)
    here = stats.binom(total, [low, high]).pmf(successes) / 2
    beyond = (stats.binom.sf(successes, total, low), stats.binom.cdf(successes - 1, total, high))
    if successes > 0:
        assert beyond[0] + here[0] == pytest.approx(0.025, abs=1e-9)
    if successes < total:
        assert beyond[1] + here[1] == pytest.approx(0.025, abs=1e-9)
    assert (low == 0) == (successes == 0)
    assert (high == 1) == (successes == total)
    exact = clopper_pearson(successes, total)
    assert exact[0] <= low <= successes / total <= high <= exact[1]


def covered_share(limits, total, share):
    return sum(
        stats.binom.pmf(successes, total, share)
        for successes in range(total + 1)
        if limits(successes, total)[0] <= share <= limits(successes, total)[1]
    )


@pytest.mark.parametrize(
    ("total", "share", "of_wilson", "of_clopper_pearson"),
    [(10, 0.90, 93.0, 98.7), (10, 0.95, 91.4, 98.8), (30, 0.95, 93.9, 98.4)],
)
def test_coverage_by_exact_enumeration(total, share, of_wilson, of_clopper_pearson):
    by_wilson = covered_share(lambda k, n: wilson(k, n, quantile=Z95), total, share)
    assert round(100 * by_wilson, 1) == of_wilson
    assert round(100 * covered_share(clopper_pearson, total, share), 1) == of_clopper_pearson


def test_single_groups_give_plain_wilson_and_empty_groups_play_no_part():
    interval = proportion_interval(np.array([1, 0, 1, 1, 0]), np.array([1, 1, 1, 1, 0]))
    assert interval.method == "Wilson"
    assert (interval.low, interval.high) == pytest.approx(wilson(3, 4, quantile=Z95))


def test_design_effect_against_the_textbook_formula():
    successes, totals = np.array([3, 0, 2, 1]), np.array([3, 2, 2, 4])
    share = 6 / 11
    between = sum((s - share * m) ** 2 for s, m in zip(successes, totals, strict=True))
    expected = (4 / 3 * between / 11**2) / (share * (1 - share) / 11)
    assert design_effect(successes, totals) == pytest.approx(expected, rel=1e-12)
    assert design_effect(np.array([1, 1, 1]), np.array([2, 2, 2])) == 1  # less variable than independent images


def test_clustered_limits_of_each_method_are_on_effective_numbers_with_t():
    successes, totals = np.array([3, 0, 2, 1]), np.array([3, 2, 2, 4])
    effect = design_effect(successes, totals)
    interval = proportion_interval(successes, totals)
    assert interval.method == "clustered Wilson"
    expected = wilson(6 / effect, 11 / effect, quantile=stats.t.ppf(0.975, 3))
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-12)
    interval = proportion_interval(successes, totals, method="mid_p")
    assert interval.method == "clustered mid-P"
    expected = mid_p(6 / effect, 11 / effect, quantile=stats.t.ppf(0.975, 3))
    assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("all_succeed", [False, True])
def test_doubling_every_image_inside_its_group_does_not_shrink_the_interval(all_succeed):
    rng = np.random.default_rng(0)
    totals = 1 + rng.poisson(2, 60)
    successes = totals if all_succeed else rng.binomial(totals, rng.beta(4, 1, 60))
    once, twice = proportion_interval(successes, totals), proportion_interval(2 * successes, 2 * totals)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=1e-12)
    alone = np.ones(60, dtype=int)
    hits = np.ones(60, dtype=int) if all_succeed else rng.integers(2, size=60)
    single, doubled = proportion_interval(hits, alone), proportion_interval(2 * hits, 2 * alone)
    assert doubled.low <= single.low
    assert doubled.high >= single.high


def test_one_group_and_no_image_have_no_limits_but_a_reason():
    assert proportion_interval(np.array([3]), np.array([4])).note == "all images come from one group"
    assert proportion_interval(np.array([0]), np.array([0])).low is None


def test_covers_with_strongly_alike_groups_where_the_naive_interval_does_not():
    rng = np.random.default_rng(5)
    covered, naive, sets = 0, 0, 500
    for _ in range(sets):
        totals = 1 + rng.poisson(2, 100)
        group = np.repeat(np.arange(100), totals)
        latent = np.sqrt(0.7) * rng.normal(size=100)[group] + np.sqrt(0.3) * rng.normal(size=len(group))
        successes = np.bincount(group, weights=latent < stats.norm.ppf(0.8), minlength=100)
        interval = proportion_interval(successes, totals)
        covered += interval.low <= 0.8 <= interval.high
        low, high = wilson(float(successes.sum()), float(totals.sum()), quantile=Z95)
        naive += low <= 0.8 <= high
    assert covered / sets >= 0.935 - 3 * np.sqrt(0.05 * 0.95 / sets)
    assert naive / sets < 0.87


@given(st.data())
def test_value_lies_inside_and_width_is_never_zero(data):
    totals = np.array(data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=20)))
    successes = np.array([data.draw(st.integers(0, int(total))) for total in totals])
    interval = proportion_interval(successes, totals)
    assert 0 <= interval.low <= successes.sum() / totals.sum() <= interval.high <= 1
    assert interval.low < interval.high


@pytest.mark.parametrize(
    "limits", [lambda k, n: wilson(k, n, quantile=Z95), clopper_pearson, lambda k, n: mid_p(k, n, quantile=Z95)]
)
def test_impossible_counts_are_refused(limits):
    with pytest.raises(MetricError, match="Got 5 of 4"):
        limits(5, 4)
    with pytest.raises(MetricError, match="Got 0 of 0"):
        limits(0, 0)
