"""The random operations of TrivialAugmentWide and RandAugment, as torchvision has them, by number and strength.

Source: Müller and Hutter 2021, arXiv:2103.10158; Cubuk et al. 2019, arXiv:1909.13719. A shift is a share of the side,
so that it does not depend on the image size; TrivialAugmentWide's 32 pixels are those of a 224 pixel image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Operation = Literal[
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
]
GEOMETRY: frozenset[Operation] = frozenset({"shear_x", "shear_y", "translate_x", "translate_y", "rotate"})
NUM_BINS = 31  # strengths that an operation has, the weakest first


@dataclass(frozen=True)
class Step:
    """One operation and its strength.

    The strength is a slope (shear), a share of the side (shift), degrees, a factor (brightness, saturation, contrast,
    sharpness; 1 changes nothing), bits that are kept (posterize), a threshold in 0..1 (solarize), and 0 where none is.
    """

    name: Operation
    strength: float = 0.0


@dataclass(frozen=True)
class Space:
    """The largest strengths of a policy."""

    shear: float
    translate: float
    degrees: float
    factor: float  # how far a factor lies from 1
    bits_lost: int


TRIVIAL_AUGMENT_WIDE = Space(shear=0.99, translate=32 / 224, degrees=135, factor=0.99, bits_lost=6)
RAND_AUGMENT = Space(shear=0.3, translate=150 / 331, degrees=30, factor=0.9, bits_lost=4)
_OPERATIONS: tuple[Operation, ...] = Operation.__args__  # type: ignore[attr-defined]


def draw_step(space: Space, numbers: Float[np.ndarray, "3"], magnitude: int | None = None) -> Step:
    """The operation that three numbers in [0, 1) choose: which, how strong, to which side.

    Args:
        magnitude: number of the strength, 0 to 30; by default drawn.
    """
    which, strength, side = numbers
    name = _OPERATIONS[int(which * len(_OPERATIONS))]
    place = (int(strength * NUM_BINS) if magnitude is None else magnitude) / (NUM_BINS - 1)
    signed = place if side < 0.5 else -place
    strengths: Mapping[Operation, float] = {
        "shear_x": signed * space.shear,
        "shear_y": signed * space.shear,
        "translate_x": signed * space.translate,
        "translate_y": signed * space.translate,
        "rotate": signed * space.degrees,
        "brightness": 1 + signed * space.factor,
        "saturation": 1 + signed * space.factor,
        "contrast": 1 + signed * space.factor,
        "sharpness": 1 + signed * space.factor,
        "posterize": float(round(8 - place * space.bits_lost)),
        "solarize": 1 - place,
    }
    return Step(name, strengths.get(name, 0.0))
