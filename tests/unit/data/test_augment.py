import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiron.data.augment import Draw, augment, draw_augmentation
from chiron.preprocess.finish import Finish
from chiron.preprocess.resize import canonical_resize
from chiron.spec.augment import AugmentRecipe
from chiron.spec.input_spec import InputSpec


@pytest.fixture
def image(random):
    return cv2.GaussianBlur(random.integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 1.5)


@pytest.mark.parametrize(("canonical", "size"), [(None, 96), (112, 96), (128, 96), (144, 96)])
def test_identity_warp_equals_finish(image, canonical, size):
    """Architecture rule 1: within 0.1 gray level on average, or training images are sharper than evaluation's."""
    spec = InputSpec(img_size=size, canonical_size=canonical)
    stored = canonical_resize(image, spec)
    finish = Finish(spec)
    evaluated = finish(torch.from_numpy(stored.transpose(2, 0, 1).copy())[None])
    warped = augment(stored, Draw(), img_size=size, max_value=255)
    trained = finish(torch.from_numpy(warped.transpose(2, 0, 1).copy())[None])
    gray_levels = (evaluated - trained).abs() * torch.tensor(spec.channel_std).view(1, 3, 1, 1) * 255
    assert gray_levels.mean() < 0.01


def test_mirror_and_quarter_turn_are_exact(image):
    stored = canonical_resize(image, InputSpec(img_size=64))
    np.testing.assert_allclose(augment(stored, Draw(mirror_x=True), img_size=64, max_value=255), stored[:, ::-1])
    np.testing.assert_allclose(augment(stored, Draw(mirror_y=True), img_size=64, max_value=255), stored[::-1])
    turned = augment(stored, Draw(degrees=90), img_size=64, max_value=255)
    np.testing.assert_allclose(turned, np.rot90(stored), atol=0.02)  # counter-clockwise


def test_shift_and_magnification():
    dot = np.zeros((64, 64, 1), np.uint8)
    dot[32, 32] = 200
    moved = augment(dot, Draw(shift_x=8 / 64, shift_y=-4 / 64), img_size=64, max_value=255)
    assert np.unravel_index(moved.argmax(), moved.shape)[:2] == (28, 40)
    square = np.zeros((64, 64, 1), np.uint8)
    square[24:40, 24:40] = 100
    larger = augment(square, Draw(magnification=2.0), img_size=64, max_value=255)
    assert (larger > 50).sum() == pytest.approx(4 * 16 * 16, rel=0.07)


def test_gray_values_stay_in_range(image):
    stored = canonical_resize(image, InputSpec(img_size=64))
    bright = augment(stored, Draw(gain=2.0, contrast=3.0), img_size=64, max_value=255)
    assert bright.min() >= 0
    assert bright.max() <= 255
    assert bright.std() > stored.std()


@given(seed=st.integers(0, 2**62))
def test_draws_stay_within_the_recipe(seed):
    recipe = AugmentRecipe(degrees=5, translate=0.03, scale=(0.9, 1.1), brightness=0.1, contrast=0.2)
    draw = draw_augmentation(recipe, seed)
    assert abs(draw.degrees) <= 5
    assert max(abs(draw.shift_x), abs(draw.shift_y)) <= 0.03
    assert 0.9 - 1e-9 <= draw.magnification <= 1.1 + 1e-9
    assert abs(draw.gain - 1) <= 0.1
    assert abs(draw.contrast - 1) <= 0.2
    assert not draw.mirror_x
    assert draw == draw_augmentation(recipe, seed)


def test_options_do_not_shift_each_other():
    """Turning one option on leaves the random numbers of the others as they were."""
    without = draw_augmentation(AugmentRecipe(degrees=10), seed=3)
    with_flip = draw_augmentation(AugmentRecipe(degrees=10, hflip=1.0, brightness=0.5), seed=3)
    assert with_flip.degrees == without.degrees
    assert with_flip.mirror_x


def test_defaults_change_nothing():
    assert draw_augmentation(AugmentRecipe(), seed=5) == Draw()
