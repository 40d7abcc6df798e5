import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiron.data.augment.draw import WHOLE, Draw, draw_augmentation
from chiron.spec.augment import AugmentRecipe
from chiron.spec.augment_presets import PRESETS

EVERYTHING = AugmentRecipe(
    hflip=0.5,
    vflip=0.25,
    rot90=1.0,
    degrees=20,
    translate=0.1,
    scale=(0.8, 1.25),
    shear=7,
    perspective=0.4,
    perspective_prob=0.3,
    crop_scale=(0.3, 0.9),
    crop_ratio=(0.5, 1.5),
    brightness=0.1,
    contrast=0.2,
    saturation=0.3,
    hue=0.05,
    blur=0.4,
    blur_sigma=(0.5, 1.5),
    policy="rand_augment",
    rand_augment_ops=3,
    erase=0.7,
    erase_scale=(0.05, 0.2),
    erase_ratio=(0.4, 2.5),
)
SEEDS = st.integers(0, 2**62)


@given(seed=SEEDS)
def test_draws_stay_within_the_recipe(seed):
    draw = draw_augmentation(EVERYTHING, seed)
    assert draw == draw_augmentation(EVERYTHING, seed)
    assert draw.quarter_turns in range(4)
    assert abs(draw.degrees) <= 20
    assert max(abs(draw.shift_x), abs(draw.shift_y)) <= 0.1
    assert 0.8 - 1e-9 <= draw.magnification <= 1.25 + 1e-9
    assert abs(draw.shear) <= 7
    assert all(0 <= corner <= 0.2 for corner in draw.corners)
    assert abs(draw.gain - 1) <= 0.1
    assert abs(draw.contrast - 1) <= 0.2
    assert abs(draw.saturation - 1) <= 0.3
    assert abs(draw.hue) <= 0.05
    assert draw.blur_sigma == 0 or 0.5 <= draw.blur_sigma <= 1.5
    assert len(draw.policy) == 3
    _check_box(draw.crop, (0.3, 0.9), (0.5, 1.5))
    if draw.erased is not None:
        box = draw.erased
        _check_box(box, (0.05, 0.2), (1 / 2.5, 1 / 0.4))


def _check_box(box, areas, ratios):
    assert areas[0] - 1e-9 <= box.width * box.height <= areas[1] + 1e-9
    assert ratios[0] - 1e-9 <= box.width / box.height <= ratios[1] + 1e-9
    assert 0 <= box.x <= 1 - box.width + 1e-9
    assert 0 <= box.y <= 1 - box.height + 1e-9


@given(seed=SEEDS, preset=st.sampled_from(sorted(PRESETS)))
def test_options_do_not_shift_each_other(seed, preset):
    """Turning one option on leaves the random numbers of the others as they were."""
    keys = PRESETS[preset]
    both = draw_augmentation(AugmentRecipe(preset=preset, degrees=10.0, shear=5.0), seed)
    alone = draw_augmentation(AugmentRecipe(degrees=10.0, shear=5.0), seed)
    assert (both.degrees, both.shear) == (alone.degrees, alone.shear)
    for key in set(keys) & {"brightness", "contrast", "saturation", "hue", "policy"}:
        name = {"brightness": "gain"}.get(key, key)
        assert getattr(both, name) == getattr(draw_augmentation(AugmentRecipe(**{key: keys[key]}), seed), name)
    if "erase" in keys:
        erase = {key: keys[key] for key in keys if key.startswith("erase")}
        assert both.erased == draw_augmentation(AugmentRecipe(**erase), seed).erased


@given(seed=SEEDS)
def test_defaults_change_nothing(seed):
    assert draw_augmentation(AugmentRecipe(), seed) == Draw()


def test_how_often_each_thing_happens():
    """Probabilities over 3,000 draws, within 4 standard errors."""
    draws = [draw_augmentation(EVERYTHING, seed) for seed in range(3000)]
    expected = {
        0.5: [draw.mirror_x for draw in draws],
        0.25: [draw.mirror_y for draw in draws],
        0.3: [any(draw.corners) for draw in draws],
        0.4: [draw.blur_sigma > 0 for draw in draws],
        0.7: [draw.erased is not None for draw in draws],
    }
    for probability, happened in expected.items():
        assert np.mean(happened) == pytest.approx(probability, abs=4 * np.sqrt(probability * (1 - probability) / 3000))
    turns = np.bincount([draw.quarter_turns for draw in draws], minlength=4) / 3000
    np.testing.assert_allclose(turns, 0.25, atol=0.032)
    for spread in ([draw.degrees / 20 for draw in draws], [draw.hue / 0.05 for draw in draws]):
        assert np.mean(spread) == pytest.approx(0, abs=0.045)
        assert np.std(spread) == pytest.approx(1 / np.sqrt(3), abs=0.03)  # uniform


def test_crops_are_spread_as_torchvision_spreads_them():
    """Means of area, ratio and place of 3,000 crops each, within 4 standard errors."""
    import torch
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    reference = RandomResizedCrop(8, scale=(0.3, 0.9), ratio=(0.5, 1.5))
    image = torch.zeros(1, 1000, 1000)
    theirs = [reference.make_params([image]) for _ in range(3000)]
    ours = [draw_augmentation(EVERYTHING, seed).crop for seed in range(3000)]
    a = np.array([[p["width"] / 1000, p["height"] / 1000, p["left"] / 1000, p["top"] / 1000] for p in theirs])
    b = np.array([[box.width, box.height, box.x, box.y] for box in ours])
    error = np.sqrt((a.var(0) + b.var(0)) / 3000)
    assert (abs(a.mean(0) - b.mean(0)) < 4 * error).all()
    np.testing.assert_allclose(a.std(0), b.std(0), rtol=0.08)


def test_erased_boxes_are_spread_as_torchvision_spreads_them():
    import torch
    from torchvision.transforms.v2 import RandomErasing

    torch.manual_seed(0)
    reference = RandomErasing(p=1.0, scale=(0.05, 0.2), ratio=(0.4, 1.2))
    image = torch.zeros(1, 1000, 1000)
    theirs = [reference.make_params([image]) for _ in range(3000)]
    recipe = AugmentRecipe(erase=1.0, erase_scale=(0.05, 0.2), erase_ratio=(0.4, 1.2))
    ours = [draw_augmentation(recipe, seed).erased for seed in range(3000)]
    a = np.array([[p["h"] / 1000, p["w"] / 1000, p["i"] / 1000, p["j"] / 1000] for p in theirs])
    b = np.array([[box.height, box.width, box.y, box.x] for box in ours])
    assert (abs(a.mean(0) - b.mean(0)) < 4 * np.sqrt((a.var(0) + b.var(0)) / 3000)).all()


def test_crop_that_never_fits_is_the_largest_in_the_middle():
    crop = draw_augmentation(AugmentRecipe(crop_scale=(0.99, 1.0), crop_ratio=(2.0, 3.0)), 1).crop
    assert (crop.x, crop.y, crop.width, crop.height) == (0, 0.25, 1, 0.5)
    assert draw_augmentation(AugmentRecipe(crop_scale=(0.9999, 1.0), crop_ratio=(0.5, 0.99)), 1).crop != WHOLE
