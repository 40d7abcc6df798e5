"""One synthetic skin lesion: its outline, its colors, and the structures that its signs ask for.

Color is optics in short: every pixel has an optical density in red, green and blue, to which melanin, blood and keratin
add, and light that comes back is exp(-density) (Beer-Lambert). Scar, scale and haze scatter: they pull towards white.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from chiron.data.phantoms.canvas import Canvas, Field, soft_step
from chiron.data.phantoms.signs import Signs
from chiron.data.phantoms.structures import STRUCTURES, Ink, Place

EXTENT = 0.84  # the lesion's canvas in body units; the lesion ends before it
_FURTHEST = 0.80
SHOWS_FROM = 0.03  # weaker signs are not drawn

# What one unit of each pigment takes from red, green and blue.
BROWN = np.array([0.62, 0.92, 1.15], np.float32)
BLUE = np.array([0.85, 0.52, 0.18], np.float32)
BLOOD = np.array([0.22, 1.05, 0.72], np.float32)
YELLOW = np.array([0.02, 0.18, 0.62], np.float32)
_WHITE = np.array([0.08, 0.14, 0.15], np.float32)  # the density of dense scar or scale


@dataclass(frozen=True)
class Lesion:
    """What a lesion does to the skin below it, and the pixels that it reaches."""

    added: Float[np.ndarray, "size size 3"]
    white: Float[np.ndarray, "size size"]
    mask: UInt8[np.ndarray, "size size"]
    radius: float

    def over(self, skin: Float[np.ndarray, "size size 3"]) -> Float[np.ndarray, "size size 3"]:
        """The skin with the lesion on it; beyond the mask it has the very bits of the skin."""
        white = self.white[..., None]  # both fields are 0 beyond the mask, and x * 1 + 0 is x to the last bit
        return (skin + self.added) * (1 - white) + white * _WHITE


def draw_lesion(canvas: Canvas, signs: Signs, named: Callable[..., np.random.Generator]) -> Lesion:
    """A lesion around (0, 0); `named` gives a generator for each name, so that no sign shifts the draws of another."""
    place, cover = _outline(canvas, signs, named("outline"))
    ink = _ground(canvas, signs, place, named("ground"))
    for name, draw in STRUCTURES.items():
        if getattr(signs, name) > SHOWS_FROM:
            draw(ink, place, signs, named(name))
    strength = named("contrast").uniform(0.7, 1.2) * cover
    pigments = cv2.merge([strength * np.maximum(layer, 0) for layer in (ink.brown, ink.blue, ink.blood, ink.yellow)])
    added = cv2.transform(pigments, np.stack([BROWN, BLUE, BLOOD, YELLOW], axis=1))
    white = np.clip(ink.white, 0, 0.85) * np.sqrt(cover)
    return Lesion(added, white, (cover > 0).astype(np.uint8), place.radius)


def _outline(canvas: Canvas, signs: Signs, rng: np.random.Generator) -> tuple[Place, Field]:
    """Where the lesion lies, and how much of it covers each pixel: 1 inside, 0 from its border on."""
    x, y = canvas.axes()
    radius = rng.uniform(0.85, 1.15) * (0.24 + 0.46 * signs.size)
    turn, stretch = rng.uniform(0, 2 * np.pi), 1 + 0.22 * rng.uniform() + 0.15 * signs.asymmetry
    far = np.hypot(x * stretch**0.5, y / stretch**0.5)
    angle = np.arctan2(y, x) + turn
    around = np.linspace(-np.pi, 3 * np.pi, 1024)
    bumps = np.ones_like(around)
    for wave in range(1, 9):
        size = (0.20 * signs.asymmetry if wave < 3 else 0.14 * signs.ragged / np.sqrt(wave)) * rng.normal()
        bumps += size * np.cos(wave * around + rng.uniform(0, 2 * np.pi))
    border = (radius * np.clip(bumps, 0.5, 1.6)).astype(np.float32)
    ragged = signs.ragged * (0.13 * canvas.noise(rng, 12) + 0.10 * canvas.noise(rng, 28)) + 0.04 * canvas.noise(rng, 18)
    reach = far / border[((angle + np.pi) * (1023 / (4 * np.pi))).astype(np.int32)] + ragged
    edge = soft_step((1.10 - reach) / (0.14 + 0.46 * signs.soft))
    edge = edge * soft_step((_FURTHEST - np.hypot(x, y)) / 0.08)
    cover = np.maximum(0, edge - 0.04) / 0.96  # ends: no faint fringe beyond the mask
    return Place(canvas, reach, radius), cover


def _ground(canvas: Canvas, signs: Signs, place: Place, rng: np.random.Generator) -> Ink:
    """The lesion's own colors below all structures: light and dark browns, and reds."""
    dark, red = canvas.noise(rng, 6), canvas.noise(rng, 6)
    fine = canvas.noise(rng, 40)
    middle = soft_step((0.9 - place.reach) / 0.9)
    brown = signs.brown * (0.62 + 0.42 * middle) * np.exp(0.85 * signs.colors * dark + 0.10 * fine)
    blood = signs.pink * (0.8 + 0.2 * middle) * np.exp(0.8 * signs.colors * red + 0.08 * fine)
    blue = 0.35 * signs.colors * signs.brown * soft_step(dark - 0.4)
    return Ink(brown, blue, blood, yellow=0.12 * signs.brown * (1 - middle), white=np.zeros_like(fine))
