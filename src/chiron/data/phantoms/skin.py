"""The skin around a synthetic lesion, from very light to very dark, as a map of optical density. Knows no class."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from chiron.data.phantoms.canvas import Canvas
from chiron.data.phantoms.lesion import BLOOD, BROWN

FITZPATRICK = ("I", "II", "III", "IV", "V", "VI")
_TONE_OF_TYPE = (0.12, 0.30, 0.46, 0.62, 0.80)  # the upper limits of types I to V
_BLOODLESS = np.array([0.05, 0.10, 0.13], np.float32)  # density of pale skin without melanin and blood
_DARKEST = 1.15  # melanin of the darkest skin


@dataclass(frozen=True)
class Skin:
    """One patient's skin: `tone` is 0 for the lightest and 1 for the darkest."""

    tone: float
    redness: float
    sun: float  # uneven pigment, freckles, fine vessels


def draw_skin(rng: np.random.Generator) -> Skin:
    """A patient's skin; light ones are more frequent, as in the data sets that there are, and dark ones do come."""
    return Skin(tone=rng.beta(1.3, 2.2), redness=rng.uniform(0.06, 0.32), sun=rng.uniform() ** 1.5)


def fitzpatrick_of(tone: float) -> str:
    """The tone as one of six types, I to VI, as Fitzpatrick's scale has."""
    return FITZPATRICK[int(np.searchsorted(_TONE_OF_TYPE, tone, side="right"))]


def draw_skin_plate(
    canvas: Canvas, skin: Skin, tone: float, rng: np.random.Generator
) -> Float[np.ndarray, "size size 3"]:
    """The optical density (red, green, blue) of the skin around one lesion; `tone` may differ from the patient's."""
    furrows = np.clip(1 - 2.5 * np.abs(canvas.noise(rng, 46)), 0, 1)  # the fine lines that divide skin into fields
    uneven = (0.05 + 0.13 * skin.sun) * canvas.noise(rng, 7) + 0.05 * canvas.noise(rng, 90)
    melanin = (0.03 + _DARKEST * tone) * (1 + uneven) + 0.05 * furrows
    freckles = rng.uniform((-1.25, -1.25), (1.25, 1.25), (round(14 * skin.sun**2), 2))
    if len(freckles):
        spots = canvas.dots(freckles, rng.uniform(0.02, 0.06, len(freckles)), blur=0.018)
        melanin += 0.30 * spots * np.clip(1 + 0.4 * canvas.noise(rng, 30), 0, 2)
    blood = skin.redness * (1 + 0.28 * canvas.noise(rng, 6) + 0.10 * canvas.noise(rng, 60))
    if rng.uniform() < 0.25:
        vessels = np.clip(1 - 4.0 * np.abs(canvas.noise(rng, 11)), 0, 1)
        blood += rng.uniform(0.03, 0.14) * vessels
    return cv2.transform(cv2.merge([melanin, np.maximum(blood, 0)]), np.stack([BROWN, BLOOD, _BLOODLESS], axis=1))
