"""Random changes of a training image: one warp from the stored image to the final size, one change of gray values.

With identity parameters the warp equals `finish` within 0.1 gray level on average (architecture rule 1).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt

from chiron.spec.augment import AugmentRecipe


@dataclass(frozen=True)
class Draw:
    """The random numbers of one augmented image; the defaults change nothing."""

    mirror_x: bool = False
    mirror_y: bool = False
    degrees: float = 0.0  # counter-clockwise as seen on the screen
    shift_x: float = 0.0  # share of the side, to the right
    shift_y: float = 0.0  # share of the side, down
    magnification: float = 1.0
    gain: float = 1.0  # brightness: multiplies all values
    contrast: float = 1.0  # stretches values around the image's mean


def draw_augmentation(recipe: AugmentRecipe, seed: int) -> Draw:
    """The draw that belongs to `seed`; every option always takes its numbers, so that one never shifts another."""
    random = np.random.Generator(np.random.Philox(key=seed))
    mirror_x, mirror_y = random.random(2)
    angle, shift_x, shift_y, size, gain, contrast = random.uniform(-1, 1, 6)
    low, high = np.log(recipe.scale)
    return Draw(
        mirror_x=bool(mirror_x < recipe.hflip),
        mirror_y=bool(mirror_y < recipe.vflip),
        degrees=angle * recipe.degrees,
        shift_x=shift_x * recipe.translate,
        shift_y=shift_y * recipe.translate,
        magnification=float(np.exp(low + (high - low) * (size + 1) / 2)),
        gain=1 + gain * recipe.brightness,
        contrast=1 + contrast * recipe.contrast,
    )


def augment(
    image: UInt[np.ndarray, "stored stored channels"], draw: Draw, *, img_size: int, max_value: int
) -> Float[np.ndarray, "img_size img_size channels"]:
    """The augmented image at its final size, float32 in the stored value range; outside the image lies black."""
    warped = cv2.warpAffine(
        image.astype(np.float32),
        inverse_warp(draw, stored_size=image.shape[0], img_size=img_size),
        (img_size, img_size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if _moves(draw) else cv2.BORDER_REPLICATE,
    ).reshape(img_size, img_size, -1)
    if draw.contrast != 1 or draw.gain != 1:
        mean = warped.mean()
        warped = np.clip(((warped - mean) * draw.contrast + mean) * draw.gain, 0, max_value)
    return warped


def inverse_warp(draw: Draw, *, stored_size: int, img_size: int) -> Float[np.ndarray, "2 3"]:
    """The affine map from final pixel (x, y) to stored pixel, both at pixel centers."""
    angle = np.deg2rad(draw.degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = np.diag([-1.0 if draw.mirror_x else 1.0, -1.0 if draw.mirror_y else 1.0])
    ratio = stored_size / img_size
    linear = mirror @ turn * (ratio / draw.magnification)
    # p_stored = linear @ (p_final - center_final - shift) + center_stored
    center_final = np.full(2, (img_size - 1) / 2)
    center_stored = np.full(2, (stored_size - 1) / 2)
    shift = np.array([draw.shift_x, draw.shift_y]) * img_size
    return np.column_stack([linear, center_stored - linear @ (center_final + shift)])


def _moves(draw: Draw) -> bool:
    return bool(draw.degrees or draw.shift_x or draw.shift_y or draw.magnification != 1)
