"""Thumbnails are averages, whatever the depth and shape; views undo each other."""

import numpy as np
import pytest
from textures import texture

from chiron.data.copies.thumbnail import VIEWS, thumbnail, turned


def naive_mean(image: np.ndarray) -> np.ndarray:
    """Blocks averaged one by one."""
    h, w = image.shape[0] // 16, image.shape[1] // 16
    small = np.zeros((16, 16, 3))
    for y in range(16):
        for x in range(16):
            small[y, x] = image[y * h : (y + 1) * h, x * w : (x + 1) * w].mean(axis=(0, 1))
    return small


def test_thumbnail_averages_blocks():
    image = texture(0, height=96, width=160)
    assert np.abs(thumbnail(image) - naive_mean(image)).max() <= 0.51


def test_gray_becomes_three_equal_channels():
    image = texture(1, channels=1)
    small = thumbnail(image)
    assert (small == small[..., :1]).all()
    np.testing.assert_array_equal(small, thumbnail(np.repeat(image, 3, axis=2)))


def test_sixteen_bits_are_scaled_to_their_own_range():
    image = texture(2, channels=1)
    twelve_bits = image.astype(np.uint16) * 16
    small = thumbnail(twelve_bits).astype(float)
    assert (small.min(), small.max()) == (0, 255)
    assert np.corrcoef(small.ravel(), thumbnail(image).ravel())[0, 1] > 0.999


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (1000, 4)])
def test_blank_sixteen_bits_stay_blank(value, expected):
    assert (thumbnail(np.full((40, 40, 1), value, np.uint16)) == expected).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 300, 3), (300, 5, 1), (16, 16, 3)])
def test_any_shape_is_taken(shape):
    assert (thumbnail(np.full(shape, 77, np.uint8)) == 77).all()


@pytest.mark.parametrize("view", range(len(VIEWS)))
def test_a_turned_image_has_the_turned_thumbnail(view):
    image = texture(3, height=64, width=64)
    picture = np.moveaxis(image, -1, 0)
    expected = np.moveaxis(turned(np.moveaxis(thumbnail(image), -1, 0), view), 0, -1)
    actual = thumbnail(np.ascontiguousarray(np.moveaxis(turned(picture, view), 0, -1)))
    assert np.abs(actual.astype(int) - expected).max() <= 1


def test_views_differ_and_are_named_rightly():
    square = np.arange(9).reshape(3, 3)
    assert len({turned(square, view).tobytes() for view in range(len(VIEWS))}) == len(VIEWS)
    np.testing.assert_array_equal(turned(square, VIEWS.index("mirrored")), np.fliplr(square))
    np.testing.assert_array_equal(turned(square, VIEWS.index("mirrored and rotated 180")), np.flipud(square))
    np.testing.assert_array_equal(turned(square, VIEWS.index("rotated 90")), np.rot90(square))
