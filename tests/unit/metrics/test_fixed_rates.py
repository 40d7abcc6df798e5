"""Rates at a fixed other rate, for all resamples at once: against a loop over thresholds, and with a kind absent."""

import numpy as np
import pytest

from chiron.metrics.evaluation import evaluate
from chiron.metrics.fixed_rates import jump_at_sensitivity, jump_at_specificity, sensitivity_at, specificity_at
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
    assert jump_at_sensitivity(ranked, 0.9) is None
    assert jump_at_specificity(ranked, 0.9) is None


def test_many_images_with_the_score_at_the_threshold_are_told_and_few_are_not():
    # Of 100 positives 92 score above .5 and `sharing` have .5; of 100 negatives as many, 4 above: one more is too many.
    def ranked(sharing):
        above = np.linspace(0.6, 0.9, 92)
        positive = np.concatenate([above, np.full(sharing, 0.5), np.linspace(0.1, 0.2, 8 - sharing)])
        negative = np.concatenate(
            [np.linspace(0.61, 0.65, 4), np.full(sharing, 0.5), np.linspace(0, 0.4, 96 - sharing)]
        )
        return Ranking(np.arange(200) < 100, np.concatenate([positive, negative])).plain_counts()

    limit = 2 * np.sqrt(0.05 * 0.95 * 100)  # 4.36
    for sharing in (3, 4, 5, 8):
        note = jump_at_sensitivity(ranked(sharing), 0.95)
        assert (note is not None) == (sharing > limit)
        assert (jump_at_specificity(ranked(sharing), 0.95) is not None) == (sharing > limit)
    assert note == (
        "too few different scores for a reliable interval (8 of 100 positive images have the one at the threshold)"
    )
    assert "8 of 100 negative images" in jump_at_specificity(ranked(8), 0.95)


@pytest.mark.parametrize(("step", "is_told"), [(0.75, True), (1e-6, False)])
def test_an_evaluation_tells_rounded_scores(step, is_told):
    rng = np.random.default_rng(0)
    y_true = np.repeat([0, 1], 300)
    score = np.round((rng.normal(size=600) + 2.9 * y_true) / step) * step
    y_prob = 1 / (1 + np.exp(-np.stack([-score, score], axis=1)))
    overall = evaluate(y_true, y_prob, groups=None, classes=["well", "ill"], positive="ill", num_resamples=200).overall
    for key in ("specificity_at_sensitivity_95", "sensitivity_at_specificity_90"):
        assert ("too few different scores" in (overall[key].note or "")) == is_told
