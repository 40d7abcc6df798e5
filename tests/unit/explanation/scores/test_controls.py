"""Maps that know nothing of the network."""

import numpy as np
import pytest
import torch
from analytic_networks import linear_subject
from scipy import ndimage

from chiron.explanation.scores.controls import CONTROLS, center_prior, edge_map, random_map, reshuffled
from chiron.explanation.scores.perturbation import enlarged


def _neighbor_correlation(maps: torch.Tensor) -> float:
    left, right = (it.flatten().numpy() for it in (maps[..., :-1], maps[..., 1:]))
    return float(np.corrcoef(left, right)[0, 1])


def test_reshuffled_maps_keep_values_and_smoothness_and_lose_the_place():
    coarse = torch.rand(30, 6, 6, generator=torch.Generator().manual_seed(0)).sub(0.3).relu()
    maps, images = enlarged(coarse, (36, 36)), torch.rand(30, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    made = reshuffled(maps, images, num_draws=3)
    assert made.shape == (30, 3, 36, 36)
    for k in range(3):
        assert torch.equal(made[:, k].flatten(1).sort(dim=1).values, maps.flatten(1).sort(dim=1).values)
    assert _neighbor_correlation(made) == pytest.approx(_neighbor_correlation(maps), abs=0.05)
    assert _neighbor_correlation(made) > 0.9
    together = [np.corrcoef(maps[i].flatten(), made[i, k].flatten())[0, 1] for i in range(30) for k in range(3)]
    assert abs(np.mean(together)) < 0.1


def test_reshuffled_places_are_all_alike():
    one = torch.zeros(400, 5, 5)
    one[:, 2, 2] = 1
    images = torch.rand(400, 1, 2, 2, generator=torch.Generator().manual_seed(2))
    share = reshuffled(one, images, num_draws=4).mean(dim=(0, 1))
    assert share.numpy() == pytest.approx(np.full((5, 5), 1 / 25), abs=0.025)


def test_edges_are_those_of_sobel():
    subject = linear_subject(channels=3)
    brightness = subject.image.mean(dim=1).numpy()
    expected = np.stack([np.hypot(*(ndimage.sobel(it, axis, mode="nearest") for axis in (0, 1))) for it in brightness])
    assert edge_map(subject).numpy() == pytest.approx(expected, abs=1e-5)
    flat = subject.showing(torch.ones_like(subject.image))
    assert edge_map(flat).max() == 0


def test_the_center_prior_is_a_gaussian_about_the_center():
    prior = center_prior(linear_subject(size=12))
    assert prior.shape == (4, 12, 12)
    assert torch.equal(prior[0], prior[3])
    assert torch.allclose(prior, prior.flip(1, 2))
    row = prior[0, 5]
    assert float(torch.log(row[5] / row[8])) == pytest.approx((2.5**2 - 0.5**2) / (2 * 3**2), rel=1e-4)


def test_random_maps_differ_between_images_and_seeds():
    subject = linear_subject()
    maps = random_map(subject, seed=1)
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(maps, random_map(subject, seed=2))
    assert torch.equal(maps, random_map(subject, seed=1))


def test_every_control_is_a_map_an_image():
    subject = linear_subject()
    for control in CONTROLS.values():
        maps = control(subject, seed=0)
        assert maps.ndim == 3
        assert len(maps) == len(subject)
        assert (maps >= 0).all()
