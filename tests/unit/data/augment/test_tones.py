"""Changes of pixel values against torchvision's, at 8 and 16 bits, in color and gray."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv

from chiron.data.augment.apply import tone_steps
from chiron.data.augment.color import COLORS, IDENTITY, composed_colors, jitter_of
from chiron.data.augment.draw import Draw
from chiron.data.augment.policies import Step
from chiron.data.augment.tones import change_tones


def changed(pixels, draw, max_value=255):
    result = pixels.astype(np.float32)
    for step in tone_steps(draw):
        result = change_tones(result, step, max_value)
    return result


def theirs(function, pixels, *amount):
    return function(torch.from_numpy(pixels.transpose(2, 0, 1).copy()), *amount).numpy().transpose(1, 2, 0)


@pytest.mark.parametrize(
    ("name", "amount", "function", "distance"),
    [
        ("brightness", 1.4, tv.adjust_brightness, 0.6),
        ("brightness", 0.01, tv.adjust_brightness, 0.6),
        ("contrast", 0.4, tv.adjust_contrast, 1.1),  # torchvision cuts fractions off, twice
        ("contrast", 1.6, tv.adjust_contrast, 0.6),
        ("saturation", 0.0, tv.adjust_saturation, 1.1),
        ("saturation", 1.5, tv.adjust_saturation, 0.6),
        ("sharpness", 1.9, tv.adjust_sharpness, 0.6),
        ("sharpness", 0.1, tv.adjust_sharpness, 0.6),
        ("posterize", 3.0, lambda t, bits: tv.posterize(t, int(bits)), 0),
        ("solarize", 0.4, lambda t, share: tv.solarize(t, 255 * share), 0),
        ("solarize", 0.0, lambda t, share: tv.solarize(t, 255 * share), 0),
    ],
)
def test_steps_with_a_strength_equal_torchvision(image, name, amount, function, distance):
    """Mean distance in gray levels; torchvision works in whole levels, so about half a level is rounding."""
    ours = changed(image, Draw(policy=(Step(name, amount),)))
    assert np.abs(ours - theirs(function, image, amount)).mean() <= distance
    assert np.abs(ours - image).mean() > 1


@pytest.mark.parametrize(
    ("name", "function", "most"), [("equalize", tv.equalize, 0), ("autocontrast", tv.autocontrast, 1)]
)
def test_steps_without_a_strength_equal_torchvision(image, name, function, most):
    dull = (40 + image // 3).astype(np.uint8)
    dull[..., 1] //= 2
    ours = changed(dull, Draw(policy=(Step(name),)))
    assert np.abs(ours - theirs(function, dull)).max() <= most  # autocontrast: torchvision cuts fractions off
    assert np.abs(ours - dull).mean() > 20


@pytest.mark.parametrize("name", ["equalize", "autocontrast", "sharpness", "posterize", "solarize", "brightness"])
def test_sixteen_bits_change_as_eight_do(image, name):
    strength = {"posterize": 4.0, "solarize": 0.5, "sharpness": 1.5, "brightness": 0.7}.get(name, 0.0)
    draw = Draw(policy=(Step(name, strength),))
    deep = changed(image.astype(np.uint16) * 257, draw, 65535)
    np.testing.assert_allclose(deep / 257, changed(image, draw), atol=0.01)


@pytest.mark.parametrize("name", ["equalize", "autocontrast"])
def test_a_constant_image_stays(name):
    flat = np.full((8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(changed(flat, Draw(policy=(Step(name),))), flat)


@pytest.mark.parametrize(("hue", "distance"), [(0.02, 3.2), (-0.02, 3.2), (0.1, 15), (-0.1, 15)])
def test_hue_is_near_torchvisions_on_colors_of_skin(hue, distance):
    """Mean distance in gray levels on skin-like colors; torchvision moves them by 3.2 (at 0.02) and 16 (at 0.1)."""
    random = np.random.default_rng(0)
    skin = np.clip(np.array([200, 140, 120]) + random.normal(0, 12, (40, 40, 3)), 0, 255).astype(np.uint8)
    reference = theirs(tv.adjust_hue, skin, hue)
    assert np.abs(changed(skin, Draw(hue=hue)) - reference).mean() < distance
    assert np.abs(changed(skin, Draw(hue=-hue)) - reference).mean() > 1.4 * distance  # red toward green


def test_hue_turns_the_circle():
    """Thirds of a turn exchange the primary colors, as in HSV; a whole turn changes nothing; sums are kept."""
    third = IDENTITY.then("hue", 1 / 3)
    np.testing.assert_allclose(third.linear, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)  # red becomes green
    color = IDENTITY.then("hue", 0.21)
    np.testing.assert_allclose(color.linear.sum(axis=0), 1, atol=1e-12)
    np.testing.assert_allclose(color.then("hue", 0.79).linear, np.eye(3), atol=1e-12)


def test_gray_knows_no_color(image):
    """Saturation and hue leave gray as it is, in one channel and in three; the rest is equal in both."""
    gray = image[..., :1]
    both = Draw(saturation=0.3, hue=0.2)
    np.testing.assert_allclose(changed(gray, both), gray, atol=1e-3)
    np.testing.assert_allclose(changed(np.repeat(gray, 3, 2), both), np.repeat(gray, 3, 2), atol=1e-3)
    draw = Draw(gain=0.8, contrast=1.1, saturation=0.7, hue=0.1)
    three = changed(np.repeat(gray, 3, 2), draw)
    np.testing.assert_allclose(three, np.repeat(changed(gray, draw), 3, 2), atol=1e-3)


def test_colors_compose_into_one_map(image):
    """One matrix equals the steps one by one where nothing is clipped."""
    mild = (80 + image // 4).astype(np.uint8)
    draw = Draw(
        gain=1.1, contrast=0.9, saturation=1.2, hue=0.03, policy=(Step("contrast", 1.1), Step("brightness", 0.9))
    )
    assert len(tone_steps(draw)) == 1
    one_by_one = mild.astype(np.float32)
    single = (Draw(gain=1.1), Draw(contrast=0.9), Draw(saturation=1.2), Draw(hue=0.03))
    for step in (*single, *(Draw(policy=(own,)) for own in draw.policy)):
        one_by_one = changed(one_by_one, step)
    np.testing.assert_allclose(changed(mild, draw), one_by_one, atol=1e-3)


def test_what_does_not_compose_keeps_its_place():
    steps = [Step("brightness", 0.5), Step("solarize", 0.5), Step("contrast", 1.5), Step("saturation", 0.5)]
    names = [getattr(step, "name", "map") for step in composed_colors(Draw(hue=0.1), steps)]
    assert names == ["map", "solarize", "map"]
    assert composed_colors(Draw(), []) == []
    assert not jitter_of(Draw()).changes
    assert {"brightness", "contrast", "saturation"} == COLORS


def test_values_stay_in_range(image):
    for max_value, pixels in ((255, image), (65535, image.astype(np.uint16) * 257)):
        bright = changed(pixels, Draw(gain=2.0, contrast=3.0, saturation=2.0, hue=0.2), max_value)
        assert bright.min() >= 0
        assert bright.max() <= max_value
