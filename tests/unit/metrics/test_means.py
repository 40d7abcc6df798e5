"""Shares and means over rows in groups."""

import numpy as np
import pytest

from chiron.metrics.intervals.proportion import wilson
from chiron.metrics.means import mean_estimate, rows_of, share_estimate


def test_a_share_has_wilson_limits_and_counts_groups(random):
    success = random.random(60) < 0.7
    alone = share_estimate(success, rows_of(None, 60))
    assert (alone.low, alone.high) == pytest.approx(wilson(float(success.sum()), 60, quantile=1.959964), rel=1e-6)
    assert "every image its own group" in alone.method
    tied = share_estimate(np.repeat(success, 4), rows_of(np.repeat(np.arange(60), 4).tolist(), 240))
    assert tied.value == alone.value
    assert (tied.num_images, tied.num_groups, tied.method) == (240, 60, "clustered Wilson")
    assert tied.high - tied.low == pytest.approx(alone.high - alone.low, rel=0.03)


def test_a_mean_has_the_spread_of_its_groups(random):
    values = random.gamma(2.0, size=300)
    alone = mean_estimate(values, rows_of(None, 300))
    assert alone.value == pytest.approx(values.mean())
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(300), rel=0.1)
    tied = mean_estimate(np.repeat(values, 3), rows_of(np.repeat(np.arange(300), 3).tolist(), 900))
    assert (tied.value, tied.low, tied.high) == pytest.approx((alone.value, alone.low, alone.high), rel=0.01)
    part = rows_of(np.repeat(np.arange(300), 3).tolist(), 900).part(np.arange(900) >= 450)
    assert part.num_groups == 150


def test_what_has_no_interval_says_why():
    rows = rows_of(None, 12)
    flat = mean_estimate(np.ones(12), rows)
    assert (flat.value, flat.low) == (1.0, None)
    assert "every resample gives the same value" in flat.note
    assert "too few cases" in flat.note
    nothing = rows.part(np.zeros(12, dtype=bool))
    for found in (mean_estimate(np.zeros(0), nothing), share_estimate(np.zeros(0, dtype=bool), nothing)):
        assert (found.value, found.note, found.num_images) == (None, "no image to count", 0)


def test_a_mean_of_signed_values_needs_their_bounds(random):
    values = random.uniform(-0.6, 0.5, 80)
    found = mean_estimate(values, rows_of(None, 80), lower_bound=-1.0, upper_bound=1.0)
    assert found.value == pytest.approx(values.mean())
    assert -1 < found.low < values.mean() < found.high < 1
    assert found.high - found.low == pytest.approx(2 * 1.99 * values.std() / np.sqrt(80), rel=0.1)
    assert "logit t" in found.method
