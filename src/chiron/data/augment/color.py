"""Brightness, contrast, saturation and hue as one linear map of a pixel's colors.

Each of them maps a color x to L x + o m, where m is the mean luma of the image: so does any sequence of them. Hue is a
turn in the plane of YIQ's two color axes, which keeps luma; turning the angle of HSV, as torchvision does, changes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from chiron.data.augment.draw import Draw
from chiron.data.augment.policies import Operation, Step

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as the canonical resize
_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
COLORS: frozenset[Operation] = frozenset({"brightness", "contrast", "saturation"})


@dataclass(frozen=True)
class ColorMap:
    """A color x becomes `linear @ x + offset * mean_luma`, the mean being that of the image before."""

    linear: Float[np.ndarray, "3 3"]
    offset: Float[np.ndarray, "3"]
    gain: float = 1.0  # of the mean luma: what only brightness changes

    def then(self, name: str, amount: float) -> "ColorMap":
        """This map followed by one more change."""
        if name == "brightness":
            return ColorMap(amount * self.linear, amount * self.offset, amount * self.gain)
        if name == "contrast":  # keeps the mean luma
            return ColorMap(amount * self.linear, amount * self.offset + (1 - amount) * self.gain, self.gain)
        blend = _hue_turn(amount) if name == "hue" else amount * np.eye(3) + (1 - amount) * np.tile(LUMA, (3, 1))
        return ColorMap(blend @ self.linear, blend @ self.offset, self.gain)

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return bool((self.linear != np.eye(3)).any() or self.offset.any())


IDENTITY = ColorMap(np.eye(3), np.zeros(3))


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
    """The turn of all colors by a share of the circle, red toward green."""
    angle = 2 * np.pi * share
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return np.linalg.inv(_YIQ) @ turn @ _YIQ
