import cv2
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv

from chiron.data.augment.apply import augment
from chiron.data.augment.draw import Box, Draw, draw_augmentation
from chiron.data.augment.policies import GEOMETRY, Step
from chiron.data.augment.warp import warp_mask, warp_of
from chiron.data.dataset import to_tensor
from chiron.data.phantoms.cxr import draw_phantom_cxr
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


@pytest.fixture(scope="module")
def chest():
    return draw_phantom_cxr(num_images=1, img_size=160, seed=11).images[0][..., None]


def given(pixels, spec):
    """What the network is given of a stored or augmented image."""
    return [each[0].numpy() for each in Finish(spec)(to_tensor(pixels)[None])]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("canonical", "size"), [(None, 96), (112, 96), (128, 96), (144, 96), (192, 96), (257, 224)])
def test_identity_warp_gives_the_mask_of_finish(chest, canonical, size, depth):
    spec = InputSpec(img_size=size, canonical_size=canonical, bit_depth=depth, in_chans=1, mask="lung")
    stored = canonical_resize(chest, spec)
    drawn = augment(stored, draw_augmentation(AugmentRecipe(), 3), spec)
    np.testing.assert_array_equal(given(drawn, spec)[1], given(stored, spec)[1])
    assert 0.1 < given(drawn, spec)[1].mean() < 0.6


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("depth", [8, 16])
def test_mask_moves_as_the_picture_and_nothing_else_touches_it(chest, preset, depth):
    """The mask goes where a picture of it would go, and the picture is what it is without a mask."""
    numbers = {"img_size": 64, "canonical_size": 72, "in_chans": 1, "bit_depth": depth}
    spec = InputSpec(**numbers, mask="lung")
    stored = canonical_resize(chest, spec)
    for seed in range(12):
        draw = draw_augmentation(AugmentRecipe(preset=preset), seed)
        moved = augment(stored, draw, spec)
        np.testing.assert_array_equal(moved[..., :1], augment(stored[..., :1], draw, InputSpec(**numbers)))
        bare = Draw(**{name: getattr(draw, name) for name in GEOMETRIC}, policy=geometric_steps(draw))
        np.testing.assert_array_equal(moved[..., 1:], augment(stored[..., 1:], bare, InputSpec(**numbers)))


GEOMETRIC = ["crop", "mirror_x", "mirror_y", "quarter_turns", "degrees", "shear", "magnification"]
GEOMETRIC += ["shift_x", "shift_y", "corners"]


def geometric_steps(draw):
    return tuple(step for step in draw.policy if step.name in GEOMETRY)


@pytest.mark.parametrize(
    "draw",
    [
        Draw(blur_sigma=3.0),
        Draw(gain=0.3, contrast=1.5),
        Draw(erased=Box(0.1, 0.1, 0.8, 0.8)),
        *(Draw(policy=(Step(n, 0.7),)) for n in ("solarize", "autocontrast", "equalize", "sharpness", "brightness")),
    ],
)
def test_what_changes_values_leaves_the_mask(chest, draw):
    spec = InputSpec(img_size=64, in_chans=1, mask="lung")
    stored = canonical_resize(chest, spec)
    changed = augment(stored, draw, spec)
    np.testing.assert_array_equal(changed[..., 1], stored[..., 1])
    assert (changed[..., 0] != stored[..., 0]).any()


@pytest.mark.parametrize(
    "draw",
    [Draw(degrees=25), Draw(mirror_x=True, shift_x=0.2), Draw(crop=Box(0.2, 0.1, 0.6, 0.5)), Draw(magnification=0.6)],
)
def test_mask_agrees_with_the_nearest_pixel(chest, draw):
    """All but pixels on its edge; and nothing lies inside the mask beyond the image."""
    spec = InputSpec(img_size=96, canonical_size=112, in_chans=1, mask="lung")
    stored = canonical_resize(chest, spec)
    ours = given(augment(stored, draw, spec), spec)[1][0]
    warp = warp_of(draw, stored_size=112, img_size=96)
    nearest = warp_mask((stored[..., 1] > 0).astype(np.uint8), warp, 96)
    assert (ours != nearest).mean() < 0.02
    full = np.full((112, 112, 2), 255, np.uint8)
    beyond = warp_mask(np.ones((112, 112), np.uint8), warp, 96)
    assert (given(augment(full, draw, spec), spec)[1][0] != beyond).mean() < 0.02


def test_mirroring_stored_pixels_mirrors_picture_and_mask(chest):
    spec = InputSpec(img_size=64, canonical_size=80, in_chans=1, mask="lung")
    stored = canonical_resize(chest, spec)
    plain, mirrored = given(stored, spec), given(np.ascontiguousarray(stored[:, ::-1]), spec)
    for a, b in zip(plain, mirrored, strict=True):
        np.testing.assert_allclose(a[..., ::-1], b, atol=1e-5)
