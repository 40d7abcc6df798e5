"""Weights of groups, BCa against scipy, and what is returned where BCa or any interval is undefined."""

import numpy as np
import pytest
from scipy import special, stats

from chiron.metrics.intervals import bootstrap
from chiron.metrics.intervals.bootstrap import (
    bca_limits,
    bootstrap_interval,
    left_out_weights,
    percentile_limits,
    resampled_weights,
    scaled_t_limits,
)


def losses(num=80, seed=0):
    return np.random.default_rng(seed).exponential(size=num)


def leave_one_out(values):
    return (values.sum() - values) / (len(values) - 1)


def test_every_resample_draws_as_many_groups_as_there_are_and_blocks_do_not_matter(monkeypatch):
    whole = np.concatenate(list(resampled_weights(31, 300, num_rows=50, seed=4)), axis=1)
    assert whole.shape == (31, 300)
    assert (whole.sum(axis=0) == 31).all()
    monkeypatch.setattr(bootstrap, "_BLOCKS", (7, 7))
    np.testing.assert_array_equal(whole, np.concatenate(list(resampled_weights(31, 300, num_rows=50, seed=4)), axis=1))
    other = np.concatenate(list(resampled_weights(31, 300, num_rows=50, seed=5)), axis=1)
    assert (whole != other).any()


def test_weights_have_the_moments_of_drawing_with_replacement():
    weights = np.concatenate(list(resampled_weights(20, 5000, num_rows=20, seed=0)), axis=1)
    assert weights.mean() == 1
    assert weights.var() == pytest.approx(1 - 1 / 20, rel=0.02)  # multinomial


def test_blocks_stay_small_for_many_rows():
    block = next(resampled_weights(1000, 2000, num_rows=1_000_000, seed=0))
    assert block.shape[1] * 1_000_000 <= 4_000_000


def test_one_group_is_left_out_at_a_time():
    weights = np.concatenate(list(left_out_weights(300, num_rows=400, seed=0)), axis=1)
    np.testing.assert_array_equal(weights, 1 - np.eye(300))


def test_sets_of_groups_are_left_out_of_large_data_once_each():
    blocks = left_out_weights(3000, num_rows=30_000, seed=0)
    weights = np.concatenate(list(blocks), axis=1)
    assert weights.shape == (3000, 1000)
    np.testing.assert_array_equal((weights == 0).sum(axis=1), 1)
    np.testing.assert_array_equal((weights == 0).sum(axis=0), 3)


def test_acceleration_from_sets_of_groups_agrees_with_single_groups():
    values = losses(6000)
    skewness = stats.skew(values) / (6 * np.sqrt(len(values)))
    weights = np.concatenate(list(left_out_weights(6000, num_rows=60_000, seed=1)), axis=1)
    left_out = values @ weights / weights.sum(axis=0)
    influence = left_out.mean() - left_out
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    assert acceleration == pytest.approx(skewness, abs=0.0015)


def test_bca_equals_scipy_on_the_same_resamples():
    values = losses()
    reference = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=3000, rng=np.random.default_rng(0))
    mine = bca_limits(values.mean(), reference.bootstrap_distribution, leave_one_out(values))
    np.testing.assert_allclose(mine, reference.confidence_interval, rtol=1e-9)


def test_bca_of_own_weights_agrees_with_scipy_within_monte_carlo_error():
    values = losses()
    reference = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1))
    weights = np.concatenate(list(resampled_weights(80, 20_000, num_rows=80, seed=3)), axis=1)
    mine = bca_limits(values.mean(), values @ weights / 80, leave_one_out(values))
    width = reference.confidence_interval.high - reference.confidence_interval.low
    np.testing.assert_allclose(mine, reference.confidence_interval, atol=0.03 * width)
    percentile = percentile_limits(values @ weights / 80)
    assert mine[0] > percentile[0]  # skewed losses shift both limits up
    assert mine[1] > percentile[1]


def test_logit_t_formula_and_log_for_an_open_range():
    resampled = np.random.default_rng(0).normal(0.8, 0.05, 1000)
    error, quantile = resampled.std(ddof=1), stats.t.ppf(0.975, 9)
    expected = special.expit(special.logit(0.8) + np.array([-1, 1]) * quantile * error / 0.16)
    np.testing.assert_allclose(scaled_t_limits(0.8, resampled, 9), expected)
    low, high = scaled_t_limits(0.8, resampled, 9, bounds=(0.0, np.inf))
    assert low * high == pytest.approx(0.64)
    assert high == pytest.approx(0.8 * np.exp(quantile * error / 0.8))
    # Of a value from -1 to 1 on the logit scale: the same as of the share of that range.
    stretched = scaled_t_limits(0.6, 2 * resampled - 1, 9, bounds=(-1.0, 1.0))
    np.testing.assert_allclose(stretched, 2 * expected - 1)
    assert scaled_t_limits(0.6, 2 * resampled - 1, 9) != stretched
    free = scaled_t_limits(-0.2, resampled, 9, bounds=(-np.inf, np.inf))
    np.testing.assert_allclose(free, -0.2 + np.array([-1, 1]) * quantile * error)


def interval_of(value, resampled, left_out=None, **options):
    left_out = np.linspace(value - 0.01, value + 0.02, 30) if left_out is None else left_out
    return bootstrap_interval(value, np.asarray(resampled), left_out, degrees_of_freedom=9, **options)


def test_bca_falls_back_to_logit_t_when_leaving_out_changes_nothing_or_is_undefined():
    resampled = np.random.default_rng(0).normal(0.8, 0.05, 1000)
    assert interval_of(0.8, resampled).method.endswith("wider of BCa and logit t")
    assert interval_of(0.8, resampled, np.full(30, 0.8)).method.endswith("logit t")
    assert interval_of(0.8, resampled, np.full(30, np.nan)).method.endswith("logit t")
    assert interval_of(0.8, resampled - 0.5).method.endswith("logit t")  # the value is above every resample


def test_the_wider_of_both_is_taken_on_each_side():
    resampled, left_out = np.random.default_rng(0).normal(0.8, 0.05, 1000), np.linspace(0.79, 0.82, 30)
    both = bca_limits(0.8, resampled, left_out), scaled_t_limits(0.8, resampled, 9)
    interval = interval_of(0.8, resampled)
    assert (interval.low, interval.high) == (min(low for low, _ in both), max(high for _, high in both))
    assert (interval.low, interval.high) not in both


def test_equal_resamples_give_no_interval_but_a_reason():
    interval = interval_of(1.0, np.ones(500))
    assert (interval.low, interval.high) == (None, None)
    assert "every resample gives the same value" in interval.note


@pytest.mark.parametrize(("undefined", "is_null"), [(0, False), (50, False), (51, True), (1000, True)])
def test_undefined_resamples_are_counted_and_above_five_percent_the_interval_is_null(undefined, is_null):
    resampled = np.random.default_rng(0).normal(0.8, 0.05, 1000)
    resampled[:undefined] = np.nan
    interval = interval_of(0.8, resampled)
    assert (interval.low is None) == is_null
    assert interval.note is None if undefined == 0 else f"{undefined} of 1000 resamples" in interval.note


def test_value_at_the_end_of_its_range_has_no_logit():
    interval = interval_of(1.0, np.random.default_rng(0).uniform(0.9, 1, 500))
    assert interval.low is None
    assert "end of its range" in interval.note
