"""Linear imputation against a dense solver and the authors' code."""

import numpy as np
import pytest
import torch

from chiron.core.errors import ExplainError
from chiron.explanation.scores.imputation import linearly_imputed


def _dense(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """One channel; one equation a missing pixel, written out."""
    places = [tuple(it) for it in np.argwhere(missing)]
    number = {place: k for k, place in enumerate(places)}
    left, right = np.zeros((len(places), len(places))), np.zeros(len(places))
    for (row, column), k in number.items():
        for down in (-1, 0, 1):
            for along in (-1, 0, 1):
                other = (row + down, column + along)
                if (down, along) == (0, 0) or not (0 <= other[0] < image.shape[0] and 0 <= other[1] < image.shape[1]):
                    continue
                weight = 1 / 6 if 0 in (down, along) else 1 / 12
                left[k, k] += weight
                if other in number:
                    left[k, number[other]] -= weight
                else:
                    right[k] += weight * image[other]
    filled = image.copy()
    filled[missing] = np.linalg.solve(left, right)
    return filled


def test_pixels_are_those_of_a_dense_solver(random):
    images = random.normal(1.0, 2.0, (3, 2, 9, 7)).astype(np.float32)
    missing = random.random((3, 9, 7)) < np.array([0.2, 0.6, 0.9])[:, None, None]
    missing[0, :3, :4] = True  # a hole at the corner
    made = linearly_imputed(torch.from_numpy(images), torch.from_numpy(missing), tolerance=1e-7)
    for k in range(3):
        for channel in range(2):
            assert made[k, channel].numpy() == pytest.approx(_dense(images[k, channel], missing[k]), abs=1e-4)
    assert np.array_equal(made.numpy().transpose(0, 2, 3, 1)[~missing], images.transpose(0, 2, 3, 1)[~missing])


def test_pixels_are_those_of_pytorch_grad_cam(random):
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    image = torch.from_numpy(random.normal(size=(3, 16, 16)).astype(np.float32))
    missing = torch.from_numpy(random.random((16, 16)) < 0.5)
    expected = NoisyLinearImputer(noise=0.0)(image, (~missing).float())
    assert torch.allclose(linearly_imputed(image[None], missing[None], tolerance=1e-7)[0], expected, atol=1e-5)


def test_the_default_tolerance_is_within_the_noise_that_road_adds(random):
    image = torch.from_numpy(random.normal(size=(1, 3, 32, 32)).astype(np.float32))
    missing = torch.from_numpy(random.random((1, 32, 32)) < 0.8)
    exact = linearly_imputed(image, missing, tolerance=1e-7)
    assert (linearly_imputed(image, missing) - exact).abs().max() < 0.01


def test_nothing_missing_and_a_flat_image_stay_as_they_are():
    image = torch.full((1, 1, 6, 6), 3.0)
    missing = torch.zeros(1, 6, 6, dtype=torch.bool)
    assert torch.equal(linearly_imputed(image, missing), image)
    missing[0, 1:5, 1:5] = True
    assert torch.allclose(linearly_imputed(image, missing), image)


def test_pixels_that_do_not_settle_are_told(monkeypatch):
    monkeypatch.setattr("chiron.explanation.scores.imputation.MAX_ITERATIONS", 5)
    image = torch.full((1, 1, 6, 6), torch.nan)
    missing = torch.zeros(1, 6, 6, dtype=torch.bool)
    missing[0, 2, 2] = True
    with pytest.raises(ExplainError, match=r"must settle.*NaN or infinity in the image"):
        linearly_imputed(image, missing)
