"""DeLong's variance of a difference of AUROCs, with and without groups."""

import numpy as np
import pytest

from chiron.metrics.comparison.paired_auroc import auroc_contrast
from chiron.metrics.scores.auroc import auroc


def naive_delong(positive, y_scores, weights):
    """All pairs, DeLong's covariance matrix, and the weighted sum's variance."""
    components = []
    for scores in y_scores:
        above = np.sign(scores[positive][:, None] - scores[~positive][None, :]) / 2 + 0.5
        components.append((above.mean(axis=1), above.mean(axis=0)))
    of_positives = np.cov(np.stack([c[0] for c in components]))
    of_negatives = np.cov(np.stack([c[1] for c in components]))
    matrix = of_positives / positive.sum() + of_negatives / (~positive).sum()
    return weights @ matrix @ weights


def naive_clustered(positive, y_scores, weights, groups):
    """Obuchowski's sums, group by group, of each model, and the weighted sum's variance from all covariances."""
    names = np.unique(groups)
    parts = []
    for scores in y_scores:
        above = np.sign(scores[positive][:, None] - scores[~positive][None, :]) / 2 + 0.5
        value = above.mean()
        p = np.array([(above.mean(axis=1) - value)[groups[positive] == g].sum() for g in names])
        n = np.array([(above.mean(axis=0) - value)[groups[~positive] == g].sum() for g in names])
        parts.append((p, n))
    m, n = positive.sum(), (~positive).sum()
    g1, g0, g = len(np.unique(groups[positive])), len(np.unique(groups[~positive])), len(names)
    total = 0.0
    for (p_a, n_a), w_a in zip(parts, weights, strict=True):
        for (p_b, n_b), w_b in zip(parts, weights, strict=True):
            cov = g1 / (g1 - 1) * (p_a @ p_b) / m**2 + g0 / (g0 - 1) * (n_a @ n_b) / n**2
            cov += g / (g - 1) * (p_a @ n_b + p_b @ n_a) / (m * n)
            total += w_a * w_b * cov
    return total


@pytest.fixture
def scores(random):
    positive = random.random(120) < 0.3
    shared = random.normal(size=120)
    y_scores = [np.round(shared + positive + random.normal(size=120), 1) for _ in range(3)]  # with ties
    return positive, y_scores


def test_it_is_delongs_with_single_groups(scores):
    positive, y_scores = scores
    for weights in ([-1.0, 1.0], [-0.5, 0.5]):
        found = auroc_contrast(positive, y_scores[:2], weights, np.arange(120))
        assert found.variance == pytest.approx(naive_delong(positive, y_scores[:2], np.array(weights)), abs=1e-12)
        expected = np.dot(weights, [auroc(positive, scores) for scores in y_scores[:2]])
        assert found.value == pytest.approx(expected, abs=1e-12)


def test_it_is_obuchowskis_with_groups(scores, random):
    positive, y_scores = scores
    groups, weights = random.integers(0, 40, 120), np.array([-1.0, 0.5, 0.5])
    found = auroc_contrast(positive, y_scores, weights.tolist(), groups)
    assert found.variance == pytest.approx(naive_clustered(positive, y_scores, weights, groups), abs=1e-12)


def test_rows_that_are_copied_add_no_knowledge(scores):
    positive, y_scores = scores
    alone = auroc_contrast(positive, y_scores[:2], [-1, 1], np.arange(120))
    copied = auroc_contrast(
        np.repeat(positive, 3), [np.repeat(s, 3) for s in y_scores[:2]], [-1, 1], np.repeat(np.arange(120), 3)
    )
    assert copied.value == pytest.approx(alone.value, abs=1e-12)
    assert copied.variance == pytest.approx(alone.variance, rel=1e-9)


def test_equal_scores_have_no_variance(scores):
    positive, y_scores = scores
    found = auroc_contrast(positive, [y_scores[0], y_scores[0] * 2 + 1], [-1, 1], np.arange(120))
    assert found.value == pytest.approx(0, abs=1e-15)
    assert found.variance == pytest.approx(0, abs=1e-15)


def test_one_positive_group_has_no_variance(random):
    positive = np.arange(20) < 3
    groups = np.where(positive, 0, np.arange(20))
    found = auroc_contrast(positive, [random.normal(size=20), random.normal(size=20)], [-1, 1], groups)
    assert np.isnan(found.variance)
