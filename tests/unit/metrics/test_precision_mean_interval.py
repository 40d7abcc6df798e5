"""The interval of the average precision: the wider of two, effective numbers, and what is null."""

import numpy as np
import pytest
from scipy import stats

from chiron.metrics.estimate import Interval
from chiron.metrics.intervals.precision_mean import precision_mean_interval
from chiron.metrics.intervals.proportion import wilson

NARROW, NONE = (
    Interval(0.89, 0.91, "bootstrap"),
    Interval(None, None, "bootstrap", "every resample gives the same value"),
)


def resamples(spread, value=0.9, count=400):
    return value + spread * np.linspace(-1, 1, count)


def t_quantile(count):
    return stats.t.ppf(0.975, count - 1)


def test_wilson_on_the_positive_images_where_the_bootstrap_is_narrower():
    interval = precision_mean_interval(0.9, resamples(0.001), np.arange(40), NARROW)
    assert (interval.low, interval.high) == pytest.approx(wilson(36, 40, quantile=t_quantile(40)), abs=1e-12)


def test_the_bootstrap_where_it_is_wider():
    wide = Interval(0.1, 0.99, "bootstrap")
    interval = precision_mean_interval(0.9, resamples(0.001), np.arange(40), wide)
    assert (interval.low, interval.high) == (0.1, 0.99)


def test_more_variance_than_a_share_has_makes_fewer_effective_images():
    resampled = resamples(0.2)
    effective = 40 / (resampled.var() * 40 / 0.09)
    assert effective < 10
    interval = precision_mean_interval(0.9, resampled, np.arange(40), NARROW)
    expected = wilson(0.9 * effective, effective, quantile=t_quantile(40))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)


def test_images_of_a_group_count_as_one_and_all_right_keeps_a_width():
    groups = np.repeat(np.arange(20), 3)
    interval = precision_mean_interval(1.0, np.ones(400), groups, NONE)
    assert (interval.low, interval.high) == pytest.approx(wilson(20, 20, quantile=t_quantile(20)), abs=1e-12)
    assert interval.low < 0.9


def test_null_where_resamples_lack_the_class_or_all_positives_are_of_one_group():
    lacking = resamples(0.05)
    lacking[:30] = np.nan
    refused = Interval(None, None, "bootstrap", "30 of 400 resamples leave the value undefined")
    assert precision_mean_interval(0.9, lacking, np.arange(3), refused) == refused
    assert "one group" in precision_mean_interval(0.9, resamples(0.05), np.zeros(9, dtype=int), NARROW).note
