"""Rates at a fixed other rate, for all resamples at once: against a loop over thresholds, and with a kind absent."""

import numpy as np
import pytest

from chiron.metrics.fixed_rates import sensitivity_at, specificity_at
from chiron.metrics.ranking import Ranking


def by_loop(positive, score, weight, rate):
    """The best sensitivity with so high a specificity, and the reverse, over all thresholds of the data."""
    sensitivities, specificities = [0.0], []
    if not weight[positive].sum() or not weight[~positive].sum():
        return np.nan, np.nan
    for threshold in np.unique(score):
        called = score >= threshold
        sensitivity = np.average(called[positive], weights=weight[positive])
        specificity = np.average(~called[~positive], weights=weight[~positive])
        if specificity >= rate - 1e-9:
            sensitivities.append(sensitivity)
        if sensitivity >= rate - 1e-9:
            specificities.append(specificity)
    return max(sensitivities), max(specificities)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("decimals", [1, 6])  # many ties, none
def test_every_resample_is_that_of_a_loop_over_thresholds(rate, decimals):
    rng = np.random.default_rng(3)
    positive = rng.random(40) < 0.3
    score = np.round(rng.normal(size=40) + positive, decimals)
    weights = rng.poisson(0.8, size=(40, 60))
    weights[positive, 0] = 0
    weights[~positive, 1] = 0
    ranked = Ranking(positive, score).counts(weights)
    expected = np.array([by_loop(positive, score, column, rate) for column in weights.T]).T
    np.testing.assert_allclose(sensitivity_at(ranked, rate), expected[0], atol=1e-12)
    np.testing.assert_allclose(specificity_at(ranked, rate), expected[1], atol=1e-12)
    assert np.isnan(expected[:, :2]).all()


@pytest.mark.parametrize("of_all", [True, False])
def test_without_one_kind_there_is_no_rate(of_all):
    ranked = Ranking(np.full(3, of_all), np.array([0.1, 0.2, 0.3])).plain_counts()
    assert np.isnan(sensitivity_at(ranked, 0.9)).all()
    assert np.isnan(specificity_at(ranked, 0.9)).all()
