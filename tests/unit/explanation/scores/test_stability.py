"""Stability under small noise."""

import numpy as np
import pytest
import torch
from analytic_networks import gradient_map, linear_subject
from scipy import stats

from chiron.explanation.scores.draws import drawn
from chiron.explanation.scores.stability import NOISE_SHARE, NUM_DRAWS, stability


def test_a_map_that_knows_no_noise_is_stable_and_noise_itself_is_not():
    subject = linear_subject()
    maps = gradient_map(subject)
    assert stability(subject, maps, gradient_map).tolist() == pytest.approx([1] * 4)
    pictures = subject.image.abs().sum(dim=1)
    close = stability(subject, pictures, lambda it: it.image.abs().sum(dim=1))
    assert ((close > 0.9) & (close < 1)).all()
    fractions = stability(subject, pictures, lambda it: it.image.sum(dim=1).mul(1e4).frac().abs())
    assert (fractions.abs() < 0.3).all()


def test_it_is_the_mean_over_draws_of_the_stated_size():
    subject, seen = linear_subject(num_images=2), []

    def explain(shown):
        seen.append(shown)
        return shown.image[:, 0].square()

    made = stability(subject, subject.image[:, 0].square(), explain, seed=3)
    assert len(seen) == NUM_DRAWS
    for row in range(2):
        expected = [
            stats.spearmanr(subject.image[row, 0].square().ravel(), it.image[row, 0].square().ravel()).statistic
            for it in seen
        ]
        assert made[row].item() == pytest.approx(np.mean(expected), abs=1e-6)
    noise = torch.stack([it.image for it in seen], dim=1) - subject.image[:, None]
    span = subject.image.amax(dim=(2, 3)) - subject.image.amin(dim=(2, 3))
    drawn_noise = drawn(subject.image, (NUM_DRAWS, 2, 12, 12), "stability", 3)
    assert torch.allclose(noise, NOISE_SHARE * span[:, None, :, None, None] * drawn_noise, atol=1e-6)
    assert all(torch.equal(it.classes, subject.classes) for it in seen)


def test_a_map_that_goes_blank_under_noise_is_not_stable():
    subject = linear_subject()
    maps = gradient_map(subject)
    assert stability(subject, maps, lambda it: torch.zeros_like(maps)).tolist() == [0] * 4
