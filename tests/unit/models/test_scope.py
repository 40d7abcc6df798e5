"""The distance of a picture from training images: shapes, what it finds far, and that the layers export."""

import numpy as np
import pytest
import torch
from small_bundles import pictures

from chiron.models.scope import ScopeDistance, fit_scope_distance


def inputs(count: int = 80, *, size: int = 40, seed: int = 0, channels: int = 3) -> torch.Tensor:
    made = pictures(count, seed=seed, size=size, channels=channels).transpose(0, 3, 1, 2).astype(np.float32)
    return torch.from_numpy(made / 64 - 2)


@pytest.fixture(scope="module")
def fitted() -> ScopeDistance:
    return fit_scope_distance([inputs()[:50], inputs()[50:]], img_size=40, in_chans=3)


def test_a_typical_image_is_at_1_and_others_are_far(fitted):
    assert fitted(inputs()).median() == pytest.approx(1, abs=1e-5)
    new = fitted(inputs(seed=1))
    for other in (
        -inputs(),
        torch.nn.functional.avg_pool2d(inputs(), 9, 1, 4),
        inputs() * 0,
        torch.randn(9, 3, 40, 40),
    ):
        assert fitted(other).min() > new.max()


def test_what_it_holds_is_no_picture_of_one_image(fitted):
    """Every center is a mean of ten images and more: none is as near to an image as images are to themselves."""
    told = fitted.statistics(inputs()) / fitted.deviation
    assert len(fitted.centers) <= 8
    nearest = (told[:, None] - fitted.centers).square().sum(2).sqrt().amin(0)
    between = (told[:, None] - told).square().sum(2).sqrt().fill_diagonal_(torch.inf).amin()
    assert nearest.min() > 0.5 * between


def test_the_thumbnail_is_the_mean_of_equal_parts(fitted):
    image = inputs(1)
    expected = image.unflatten(3, (8, 5)).unflatten(2, (8, 5)).mean(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(fitted.statistics(image)[:, : 3 * 64], expected)
    odd = ScopeDistance(img_size=30, in_chans=1, num_centers=1)
    pixels = torch.arange(30.0).expand(1, 1, 30, 30)
    columns = odd.statistics(pixels)[0, :64].reshape(8, 8)[0]
    torch.testing.assert_close(columns[0], torch.tensor((0 + 1 + 2 + 3 * 0.75) / 3.75))
    torch.testing.assert_close(columns.mean(), torch.tensor(14.5))


def test_detail_is_the_energy_of_each_size(fitted):
    """A checkerboard of single pixels is all in the finest size; one of two by two in the next."""
    fine = torch.ones(1, 3, 40, 40)
    fine[..., ::2, ::2] = fine[..., 1::2, 1::2] = -1
    coarse = fine[..., :20, :20].repeat_interleave(2, 2).repeat_interleave(2, 3)
    details = [fitted.statistics(image)[0, -12:].reshape(4, 3)[:, 0].exp() for image in (fine, coarse)]
    np.testing.assert_allclose(details[0], [1, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(details[1], [0, 1, 0, 0], atol=1e-5)


@pytest.mark.parametrize("size", [8, 28, 30, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_few_images_do(size, channels):
    made = fit_scope_distance([inputs(3, size=size, channels=channels)], img_size=size, in_chans=channels)
    found = made(inputs(4, size=size, channels=channels, seed=2))
    assert found.shape == (4,)
    assert torch.isfinite(found).all()


def test_images_do_not_depend_on_their_neighbors_and_the_layers_export(fitted):
    images = inputs(6, seed=3)
    alone = torch.cat([fitted(image[None]) for image in images])
    torch.testing.assert_close(fitted(images), alone)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(fitted, (images,), dynamic_shapes=({0: batch},), strict=False)
    torch.testing.assert_close(program.module()(inputs(3, seed=4)), fitted(inputs(3, seed=4)))
