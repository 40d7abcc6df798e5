"""Holm's adjustment and simultaneous intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.core.errors import MetricError
from chiron.metrics.comparison.family import simultaneous_level
from chiron.metrics.holm import holm


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005])[0] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4])[0] == [0.4]
    assert holm([0.9, 0.8])[0] == [1.0, 1.0]


def test_a_missing_test_counts_as_one():
    adjusted = holm([0.01, float("nan"), 0.02])[0]
    assert adjusted[0] == pytest.approx(0.03)
    assert np.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.04)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_plain_values_and_bonferronis(p_values):
    adjusted = np.array(holm(p_values)[0])
    plain = np.array(p_values)
    assert (adjusted >= plain - 1e-15).all()
    assert (adjusted <= np.minimum(1, plain * len(plain)) + 1e-15).sum() >= 1  # the smallest
    order = np.argsort(plain, kind="stable")
    assert (np.diff(adjusted[order]) >= -1e-15).all()


def test_a_share_is_no_p_value():
    with pytest.raises(MetricError, match=r"must lie in 0\.\.1"):
        holm([1.2])


def test_simultaneous_levels(random):
    independent = list(random.normal(size=(3, 20_000)))
    assert simultaneous_level(independent, [0, 0, 0], confidence=0.95) == pytest.approx(0.95 ** (1 / 3), abs=0.002)
    together = [independent[0], 2 * independent[0]]  # one carries the other
    assert simultaneous_level(together, [0, 0], confidence=0.95) == pytest.approx(0.95, abs=0.003)
    still = [independent[0], np.zeros(20_000)]
    assert simultaneous_level(still, [0, 0], confidence=0.95) == pytest.approx(0.95, abs=0.003)
