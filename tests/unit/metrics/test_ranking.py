"""Ranked counts against comparing all pairs, with ties, groups and weights; and sums that outgrow 32 bits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chiron.metrics.ranking import Ranking
from chiron.metrics.scores.auroc import auroc


@settings(max_examples=40, deadline=None)
@given(num_rows=st.integers(1, 40), decimals=st.sampled_from([0, 1, 9]), seed=st.integers(0, 10_000))
def test_counts_equal_comparing_every_row_with_every_threshold(num_rows, decimals, seed):
    rng = np.random.default_rng(seed)
    positive, score = rng.random(num_rows) < 0.4, rng.normal(size=num_rows).round(decimals)
    groups = rng.integers(6, size=num_rows)
    weights = rng.integers(0, 4, size=(6, 3))
    ranked = Ranking(positive, score, groups, 6).counts(weights)
    of_row = weights[groups]
    thresholds = np.unique(score[positive])[::-1]
    for k, threshold in enumerate(thresholds):
        reached = score >= threshold
        np.testing.assert_array_equal(ranked.tp[:, k], of_row[positive & reached].sum(axis=0))
        np.testing.assert_array_equal(ranked.fp[:, k], of_row[~positive & reached].sum(axis=0))
        np.testing.assert_array_equal(ranked.weight[:, k], of_row[positive & (score == threshold)].sum(axis=0))
    tied = [k for k, threshold in enumerate(thresholds) if (score[~positive] == threshold).any()]
    assert ranked.tied_at.tolist() == tied
    expected = [of_row[~positive & (score == thresholds[k])].sum(axis=0) for k in tied]
    np.testing.assert_array_equal(ranked.tied.T, np.array(expected).reshape(len(tied), 3))
    np.testing.assert_array_equal(ranked.num_positive, of_row[positive].sum(axis=0))
    np.testing.assert_array_equal(ranked.num_negative, of_row[~positive].sum(axis=0))


def test_pairs_are_counted_beyond_what_32_bits_hold():
    """100,000 images of each kind at two scores: 1e10 pairs."""
    y_true = np.repeat([1, 0], 100_000)
    score = np.concatenate([np.repeat([1.0, 0.0], [80_000, 20_000]), np.repeat([1.0, 0.0], [50_000, 50_000])])
    assert auroc(y_true, score) == 0.8 * 0.5 + (0.8 * 0.5 + 0.2 * 0.5) / 2
