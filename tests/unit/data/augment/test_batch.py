import numpy as np
import pytest
import torch

from chiron.data.augment.apply import augment
from chiron.data.augment.batch import augment_batch
from chiron.data.augment.draw import Box, Draw, draw_augmentation
from chiron.data.augment.policies import Step
from chiron.preprocess.finish import Finish
from chiron.preprocess.resize import canonical_resize
from chiron.spec.augment import AugmentRecipe
from chiron.spec.augment_presets import PRESETS
from chiron.spec.input_spec import InputSpec

STRENGTHS = {"sharpness": 1.7, "posterize": 3.0, "solarize": 0.6, "brightness": 0.6, "contrast": 1.5, "saturation": 0.2}


def distances(images, draws, spec):
    """Mean distance to the CPU path an image, gray levels of 255."""
    stored = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.int32))
    before = stored.clone()
    batch = augment_batch(stored, draws, spec).numpy()
    assert torch.equal(stored, before)  # the stored images are not written to
    one_by_one = np.stack([augment(pixels, draw, spec) for pixels, draw in zip(images, draws, strict=True)])
    return np.abs(batch.transpose(0, 2, 3, 1) - one_by_one).mean(axis=(1, 2, 3)) * 255 / spec.max_value


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(img_size=48, canonical_size=56),
        InputSpec(img_size=48, in_chans=1),
        InputSpec(img_size=48, canonical_size=64, bit_depth=16),
    ],
    ids=["color", "gray", "deep"],
)
def test_batch_equals_one_by_one(image, preset, spec):
    """Below 0.1 gray levels an image, 0.01 on average; the limit promised is 0.5."""
    images = [canonical_resize(np.ascontiguousarray(np.roll(image, 9 * k, axis=1)), spec) for k in range(24)]
    recipe = AugmentRecipe(preset=preset)
    apart = distances(images, [draw_augmentation(recipe, seed) for seed in range(24)], spec)
    assert apart.max() < 0.1
    assert apart.mean() < 0.01


@pytest.mark.parametrize(
    "name",
    [
        "sharpness",
        "posterize",
        "solarize",
        "autocontrast",
        "equalize",
        "brightness",
        "contrast",
        "saturation",
        "identity",
    ],
)
def test_every_step_of_a_policy_equals_one_by_one(image, name):
    spec = InputSpec(img_size=48, canonical_size=56)
    draw = Draw(
        policy=(Step(name, STRENGTHS.get(name, 0.0)), Step("contrast", 0.8), Step(name, STRENGTHS.get(name, 0.0)))
    )
    assert distances([canonical_resize(image, spec)] * 2, [draw, Draw()], spec).max() < 0.1


def test_blur_presmoothing_and_erasing_equal_one_by_one(image):
    spec = InputSpec(img_size=48, canonical_size=56)
    draws = [
        Draw(magnification=0.4),
        Draw(blur_sigma=1.7),
        Draw(blur_sigma=0.8, blur_kernel=3),
        Draw(erased=Box(0.1, 0.2, 0.3, 0.4), erase_fill="black"),
        Draw(crop=Box(0.2, 0.3, 0.4, 0.5)),
        Draw(crop=Box(0.2, 0.3, 0.4, 0.5), degrees=30),
        Draw(corners=(0.1, 0.05, 0, 0.1, 0.2, 0, 0, 0.1)),
    ]
    assert distances([canonical_resize(image, spec)] * len(draws), draws, spec).max() < 0.01


def test_images_of_a_batch_do_not_touch_each_other(image):
    spec = InputSpec(img_size=48, canonical_size=56)
    stored = torch.from_numpy(canonical_resize(image, spec).transpose(2, 0, 1).copy())[None]
    draw = draw_augmentation(AugmentRecipe(preset="dermalyze.heavy"), 5)
    alone = augment_batch(stored, [draw], spec)[0]
    noise = torch.randint(0, 256, stored.shape, dtype=torch.uint8)
    other = draw_augmentation(AugmentRecipe(preset="h_coatnet.code"), 2)
    together = augment_batch(torch.cat([noise, stored, noise]), [other, draw, Draw(blur_sigma=2.0)], spec)[1]
    np.testing.assert_allclose(alone, together, atol=1e-3)


@pytest.mark.parametrize("preset", ["derm", "h_coatnet.code", "dermalyze.heavy"])
def test_masks_of_a_batch_equal_those_one_by_one(image, preset):
    """After `finish` but for pixels on an edge, which may fall to the other side."""
    spec = InputSpec(img_size=48, canonical_size=56, mask="lung")
    stored = np.stack([canonical_resize(np.ascontiguousarray(np.roll(image, 9 * k, axis=1)), spec) for k in range(8)])
    draws = [draw_augmentation(AugmentRecipe(preset=preset), seed) for seed in range(8)]
    batch = augment_batch(torch.from_numpy(stored.transpose(0, 3, 1, 2).copy()), draws, spec)
    alone = np.stack([augment(pixels, draw, spec) for pixels, draw in zip(stored, draws, strict=True)])
    bare = torch.from_numpy(stored[..., :3].transpose(0, 3, 1, 2).copy())
    assert torch.allclose(batch[:, :3], augment_batch(bare, draws, InputSpec(img_size=48, canonical_size=56)), atol=0.1)
    finish = Finish(spec)
    ours, expected = finish(batch)[1], finish(torch.from_numpy(alone.transpose(0, 3, 1, 2).copy()))[1]
    assert (ours != expected).float().mean() < 1e-3
    assert 0.05 < ours.mean() < 0.9
    assert len({mask.numpy().tobytes() for mask in ours}) == 8
