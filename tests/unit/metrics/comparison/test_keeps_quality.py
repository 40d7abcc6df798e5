"""The rule of quality for faster and smaller forms of a model."""

import numpy as np
import pytest
from scipy import special

from chiron.metrics.comparison.keeps_quality import keeps_quality

OPTIONS = {"classes": ("well", "sick"), "positive": "sick", "groups": None}


def two_columns(logit):
    prob = special.expit(logit)
    return np.stack([1 - prob, prob], axis=1)


@pytest.fixture
def scored(random):
    y_true = random.integers(0, 2, 1200)
    return y_true, 2 * (2 * y_true - 1) + 2 * random.normal(size=1200)


def test_rounding_keeps_quality(scored, random):
    y_true, logit = scored
    found = keeps_quality(y_true, two_columns(logit), two_columns(logit + 1e-3 * random.normal(size=1200)), **OPTIONS)
    assert found.kept
    assert found.words.startswith("quality kept; ")
    assert [comparison.finding.metric for comparison in found.comparisons] == ["auroc", "accuracy"]


def test_the_same_outputs_and_the_same_ranks_keep_it(scored):
    y_true, logit = scored
    assert keeps_quality(y_true, two_columns(logit), two_columns(logit), **OPTIONS).kept
    scaled = keeps_quality(y_true, two_columns(logit), two_columns(1.01 * logit), **OPTIONS)
    assert scaled.kept
    assert scaled.num_flipped == 0


def test_noise_does_not(scored, random):
    y_true, logit = scored
    found = keeps_quality(y_true, two_columns(logit), two_columns(logit + 2 * random.normal(size=1200)), **OPTIONS)
    assert not found.kept
    assert "auroc may be" in found.words
    assert found.num_flipped > 50


def test_under_a_thousand_cases_nothing_is_shown(scored):
    y_true, logit = scored[0][:999], two_columns(scored[1][:999])
    found = keeps_quality(y_true, logit, logit, **OPTIONS)
    assert not found.kept
    assert "999 cases, of which 1,000 are needed" in found.words


def test_decisions_flip_at_the_frozen_threshold(scored):
    y_true, logit = scored
    moved = logit + 0.2
    for threshold, at in ((None, 0.0), (0.9, special.logit(0.9))):
        found = keeps_quality(y_true, two_columns(logit), two_columns(moved), threshold=threshold, **OPTIONS)
        assert found.num_flipped == int(((logit < at) & (moved >= at)).sum())
