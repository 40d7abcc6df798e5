import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv

from chiron.data.augment.apply import augment
from chiron.data.augment.draw import Box, Draw, draw_augmentation
from chiron.preprocess.finish import Finish
from chiron.preprocess.resize import canonical_resize
from chiron.spec.augment import AugmentRecipe
from chiron.spec.augment_presets import PRESETS
from chiron.spec.input_spec import InputSpec


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("canonical", "size"), [(None, 96), (112, 96), (128, 96), (144, 96), (192, 96)])
def test_identity_warp_equals_finish(image, canonical, size, depth):
    """Architecture rule 1: within 0.1 gray level on average, or training images are sharper than evaluation's."""
    spec = InputSpec(img_size=size, canonical_size=canonical, bit_depth=depth)
    stored = canonical_resize(image, spec)
    finish = Finish(spec)
    evaluated = finish(torch.from_numpy(stored.transpose(2, 0, 1).astype(np.float32))[None])[0]
    drawn = augment(stored, draw_augmentation(AugmentRecipe(), 3), spec)
    trained = finish(torch.from_numpy(drawn.transpose(2, 0, 1).copy())[None])[0]
    gray_levels = (evaluated - trained).abs() * torch.tensor(spec.channel_std).view(1, 3, 1, 1) * 255
    assert gray_levels.mean() < 0.01


def test_shift_and_magnification():
    spec = InputSpec(img_size=64, in_chans=1)
    dot = np.zeros((64, 64, 1), np.uint8)
    dot[32, 32] = 200
    moved = augment(dot, Draw(shift_x=8 / 64, shift_y=-4 / 64), spec)
    assert np.unravel_index(moved.argmax(), moved.shape)[:2] == (28, 40)
    square = np.zeros((64, 64, 1), np.uint8)
    square[24:40, 24:40] = 100
    larger = augment(square, Draw(magnification=2.0), spec)
    assert (larger > 50).sum() == pytest.approx(4 * 16 * 16, rel=0.07)


@pytest.mark.parametrize("kernel", [3, 7])
def test_blur_equals_torchvision(image, kernel):
    stored = np.ascontiguousarray(image[:96, :96])
    ours = augment(stored, Draw(blur_sigma=1.3, blur_kernel=kernel), InputSpec(img_size=96))
    theirs = tv.gaussian_blur(torch.from_numpy(stored.transpose(2, 0, 1).copy()).float(), kernel, 1.3)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(1, 2, 0), atol=0.01)


def test_blur_without_a_kernel_holds_all_of_sigma(image):
    stored = np.ascontiguousarray(image[:96, :96])
    ours = augment(stored, Draw(blur_sigma=2.0), InputSpec(img_size=96))
    np.testing.assert_allclose(ours, cv2.GaussianBlur(stored.astype(np.float32), (31, 31), 2.0), atol=0.5)


def test_erased_box_is_the_mean_or_black_and_nothing_else_changes(image):
    """The mean is what a 0 after normalization is: torchvision's RandomErasing behind Normalize."""
    stored = np.ascontiguousarray(image[:96, :96])
    spec = InputSpec(img_size=96)
    box = Box(x=12 / 96, y=24 / 96, width=48 / 96, height=36 / 96)
    erased = augment(stored, Draw(erased=box), spec)
    finish = Finish(spec)
    normalized = finish(torch.from_numpy(erased.transpose(2, 0, 1).copy())[None])[0][0]
    expected = tv.erase(
        finish(torch.from_numpy(stored.transpose(2, 0, 1).copy())[None])[0][0], 24, 12, 36, 48, torch.zeros(1)
    )
    np.testing.assert_allclose(normalized, expected, atol=1e-5)
    black = augment(stored, Draw(erased=box, erase_fill="black"), spec)
    assert black[24:60, 12:60].max() == 0
    outside = np.ones((96, 96), bool)
    outside[24:60, 12:60] = False
    np.testing.assert_array_equal(black[outside], stored[outside])


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("in_chans", [1, 3])
def test_every_preset_gives_images_in_range_at_both_depths(image, preset, in_chans):
    recipe = AugmentRecipe(preset=preset)
    for depth in (8, 16):
        spec = InputSpec(img_size=48, canonical_size=56, in_chans=in_chans, bit_depth=depth)
        stored = canonical_resize(image, spec)
        seen = [augment(stored, draw_augmentation(recipe, seed), spec) for seed in range(15)]
        assert {(item.shape, item.dtype) for item in seen} == {((48, 48, in_chans), np.dtype(np.float32))}
        assert min(item.min() for item in seen) >= 0
        assert max(item.max() for item in seen) <= spec.max_value
        assert len({item.tobytes() for item in seen}) > 5


def test_depths_agree(image):
    """An 8-bit image and its 16-bit copy are changed alike."""
    recipe = AugmentRecipe(preset="h_coatnet.code")
    specs = [InputSpec(img_size=48, canonical_size=56, bit_depth=depth) for depth in (8, 16)]
    stored = canonical_resize(image, specs[0])
    for seed in range(30):
        draw = draw_augmentation(recipe, seed)
        shallow = augment(stored, draw, specs[0])
        deep = augment(stored.astype(np.uint16) * 257, draw, specs[1])
        assert np.abs(deep / 257 - shallow).mean() < 0.1
