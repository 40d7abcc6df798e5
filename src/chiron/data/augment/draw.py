"""The random numbers of one augmented image, and how a seed gives them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from chiron.data.augment.policies import RAND_AUGMENT, TRIVIAL_AUGMENT_WIDE, Step, draw_step
from chiron.spec.augment import AugmentRecipe

_TRIES = 10  # for a box that fits, as torchvision


@dataclass(frozen=True)
class Box:
    """A rectangle as shares of the image side; x and y are those of its top left corner."""

    x: float
    y: float
    width: float
    height: float


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Draw:
    """The random numbers of one augmented image, in the order in which they act; the defaults change nothing."""

    crop: Box = WHOLE
    mirror_x: bool = False
    mirror_y: bool = False
    quarter_turns: int = 0  # counter-clockwise
    degrees: float = 0.0  # counter-clockwise as seen on the screen
    shear: float = 0.0  # degrees that vertical lines slant, their top to the right
    magnification: float = 1.0
    shift_x: float = 0.0  # share of the side, to the right
    shift_y: float = 0.0  # share of the side, down
    corners: tuple[float, ...] = (0.0,) * 8  # x and y that the corners move inward, shares of the side, clockwise
    blur_sigma: float = 0.0  # final pixels
    blur_kernel: int | None = None
    gain: float = 1.0  # brightness: multiplies all values
    contrast: float = 1.0  # stretches values around the image's mean
    saturation: float = 1.0
    hue: float = 0.0  # share of the color circle
    policy: tuple[Step, ...] = ()
    erased: Box | None = None
    erase_fill: Literal["mean", "black"] = "mean"


def draw_augmentation(recipe: AugmentRecipe, seed: int) -> Draw:
    """The draw that belongs to `seed`; every option always takes its numbers, so that one never shifts another."""
    random = np.random.Generator(np.random.Philox(key=seed))
    mirror_x, mirror_y = random.random(2)
    angle, shift_x, shift_y, size, gain, contrast = random.uniform(-1, 1, 6)
    turns, which_turn = random.random(2)
    shear, saturation, hue = random.uniform(-1, 1, 3)
    crop, erased = random.random((2, 2 * _TRIES + 2))
    has_erased, has_blur, sigma, has_perspective, *corners = random.random(12)
    policy = random.random((recipe.rand_augment_ops, 3))  # the last, as their count differs
    low, high = np.log(recipe.scale)
    inward = recipe.perspective / 2 * (has_perspective < recipe.perspective_prob)
    return Draw(
        crop=_draw_box(recipe.crop_scale, recipe.crop_ratio, crop) or _largest_box(recipe.crop_ratio),
        mirror_x=bool(mirror_x < recipe.hflip),
        mirror_y=bool(mirror_y < recipe.vflip),
        quarter_turns=int(4 * which_turn) if turns < recipe.rot90 else 0,
        degrees=angle * recipe.degrees,
        shear=shear * recipe.shear,
        magnification=float(np.exp(low + (high - low) * (size + 1) / 2)),
        shift_x=shift_x * recipe.translate,
        shift_y=shift_y * recipe.translate,
        corners=tuple(inward * float(corner) for corner in corners),
        blur_sigma=_between(recipe.blur_sigma, sigma) if has_blur < recipe.blur else 0.0,
        blur_kernel=recipe.blur_kernel,
        gain=1 + gain * recipe.brightness,
        contrast=1 + contrast * recipe.contrast,
        saturation=1 + saturation * recipe.saturation,
        hue=hue * recipe.hue,
        policy=_draw_policy(recipe, policy),
        # height / width, where a crop's ratio is width / height: both as torchvision counts them
        erased=_turned(_draw_box(recipe.erase_scale, recipe.erase_ratio, erased))
        if has_erased < recipe.erase
        else None,
        erase_fill=recipe.erase_fill,
    )


def _between(bounds: tuple[float, float], share: float) -> float:
    return float(bounds[0] + (bounds[1] - bounds[0]) * share)


def _draw_box(
    areas: tuple[float, float], ratios: tuple[float, float], numbers: Float[np.ndarray, "numbers"]
) -> Box | None:
    """The first of ten boxes that fits into the image; None when none does.

    Args:
        areas: range of the area, uniform.
        ratios: range of width / height, uniform in its logarithm.
        numbers: in [0, 1); an area and a ratio a try, then the place.
    """
    tries, (along_x, along_y) = numbers[:-2].reshape(-1, 2), numbers[-2:]
    for area, ratio in zip(
        areas[0] + (areas[1] - areas[0]) * tries[:, 0],
        np.exp(np.log(ratios[0]) + np.log(ratios[1] / ratios[0]) * tries[:, 1]),
        strict=True,
    ):
        width, height = float(np.sqrt(area * ratio)), float(np.sqrt(area / ratio))
        if width <= 1 and height <= 1:
            return Box(float(along_x * (1 - width)), float(along_y * (1 - height)), width, height)
    return None


def _largest_box(ratios: tuple[float, float]) -> Box:
    """The largest box in the middle of the image that has one of the ratios."""
    ratio = min(max(1.0, ratios[0]), ratios[1])
    width, height = min(1.0, ratio), min(1.0, 1 / ratio)
    return Box((1 - width) / 2, (1 - height) / 2, width, height)


def _turned(box: Box | None) -> Box | None:
    """The box with its axes exchanged."""
    return box and Box(box.y, box.x, box.height, box.width)


def _draw_policy(recipe: AugmentRecipe, numbers: Float[np.ndarray, "ops 3"]) -> tuple[Step, ...]:
    if recipe.policy == "trivial_augment":
        return (draw_step(TRIVIAL_AUGMENT_WIDE, numbers[0]),)
    if recipe.policy == "rand_augment":
        return tuple(draw_step(RAND_AUGMENT, row, recipe.rand_augment_magnitude) for row in numbers)
    return ()
