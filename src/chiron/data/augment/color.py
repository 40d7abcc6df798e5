"""Brightness, contrast, saturation and hue as one linear map of a pixel's colors.

Each of them maps a color x to L x + O m, where m is the mean color of the image: so does any sequence of them. Hue is a
turn about the axis of grays. It goes around the color circle as torchvision's does, which turns the angle of HSV, but
keeps the sum of the three channels where HSV keeps the largest. (A turn in YIQ keeps luma and lies further from HSV.)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from chiron.data.augment.draw import Draw
from chiron.data.augment.policies import Operation, Step

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as the canonical resize
COLORS: frozenset[Operation] = frozenset({"brightness", "contrast", "saturation"})
_TO_LUMA = np.tile(LUMA, (3, 1))


@dataclass(frozen=True)
class ColorMap:
    """A color x becomes `linear @ x + offset @ mean`, the mean being that of the image before."""

    linear: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3 3"]

    def then(self, name: str, amount: float) -> "ColorMap":
        """This map followed by brightness, contrast, saturation (factors) or hue (share of the circle)."""
        if name == "contrast":  # a blend with the mean luma of what this map has made
            mean = _TO_LUMA @ (self.linear + self.offset)
            return ColorMap(amount * self.linear, amount * self.offset + (1 - amount) * mean)
        change = {
            "brightness": amount * np.eye(3),
            "saturation": amount * np.eye(3) + (1 - amount) * _TO_LUMA,
            "hue": _hue_turn(amount),
        }[name]
        return ColorMap(change @ self.linear, change @ self.offset)

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return bool((self.linear != np.eye(3)).any() or self.offset.any())


IDENTITY = ColorMap(np.eye(3), np.zeros((3, 3)))


def jitter_of(draw: Draw) -> ColorMap:
    """The changes of color that belong to the recipe's own keys, in their fixed order."""
    composed = IDENTITY
    amounts = {"brightness": draw.gain, "contrast": draw.contrast, "saturation": draw.saturation}
    for name, amount in amounts.items():
        if amount != 1:
            composed = composed.then(name, amount)
    return composed.then("hue", draw.hue) if draw.hue else composed


def composed_colors(draw: Draw, steps: Iterable[Step]) -> list[ColorMap | Step]:
    """Jitter, then the policy's `steps`, with neighbors that compose made one."""
    made: list[ColorMap | Step] = [jitter_of(draw)]
    for step in steps:
        if step.name not in COLORS:
            made.append(step)
        elif isinstance(last := made[-1], ColorMap):
            made[-1] = last.then(step.name, step.strength)
        else:
            made.append(IDENTITY.then(step.name, step.strength))
    return [item for item in made if not isinstance(item, ColorMap) or item.changes]


def _hue_turn(share: float) -> Float[np.ndarray, "3 3"]:
    """The turn of all colors about the axis of grays by a share of the circle, red toward green (Rodrigues)."""
    angle = 2 * np.pi * share
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
