"""Logit adjustment: what it does to probabilities, and which strength is chosen."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from chiron.decide.logit_adjustment import STRENGTHS, adjusted_logits, best_strength


def test_full_strength_gives_the_probabilities_of_equal_classes():
    shares, likelihood = np.array([0.7, 0.2, 0.1]), np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    adjusted = adjusted_logits(np.log(likelihood * shares), shares, 1.0)
    probs = np.exp(adjusted) / np.exp(adjusted).sum(axis=1, keepdims=True)
    assert probs == pytest.approx(likelihood / likelihood.sum(axis=1, keepdims=True), abs=1e-12)


def test_the_strength_is_the_best_of_all_by_scikit_learn():
    rng, shares = np.random.default_rng(0), np.array([0.8, 0.15, 0.05])
    y_true = rng.choice(3, size=400, p=shares)
    logits = rng.normal(size=(400, 3)) + np.log(shares)
    logits[np.arange(400), y_true] += 1.0
    scores = [balanced_accuracy_score(y_true, adjusted_logits(logits, shares, it).argmax(axis=1)) for it in STRENGTHS]
    chosen = best_strength(logits, y_true, shares)
    assert scores[STRENGTHS.index(chosen)] == max(scores)
    assert chosen > 0


def test_of_equal_strengths_the_weakest_is_taken():
    logits = np.array([[9.0, 0.0], [0.0, 9.0]])
    assert best_strength(logits, np.array([0, 1]), np.array([0.6, 0.4])) == 0
