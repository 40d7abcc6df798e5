"""What dermatology calls the signs of a lesion: how strongly each class shows them, and where classes overlap.

Source of the signs: the ABCD rule (Stolz et al. 1994) and pattern analysis (Kittler et al. 2016, the third consensus
conference of the International Society of Dermoscopy). The strengths are our own, set by eye and by a small CNN.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields

import numpy as np

from chiron.core.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Strengths of the signs of one lesion: 0 absent, 1 as marked as they come. First its outline, then its content."""

    size: float
    asymmetry: float
    ragged: float  # irregular border
    soft: float  # border that fades into the skin
    brown: float
    pink: float
    colors: float  # how much color varies over the lesion
    network: float = 0.0
    broken: float = 0.0  # irregular, interrupted network
    rim: float = 0.0  # network at the rim alone
    globules: float = 0.0
    streaks: float = 0.0
    blotch: float = 0.0
    veil: float = 0.0  # blue-white veil
    regression: float = 0.0  # white, peppered areas
    milia: float = 0.0
    comedones: float = 0.0
    ridges: float = 0.0  # furrows and ridges of a keratosis
    vessels: float = 0.0  # arborizing
    nests: float = 0.0  # blue-gray ovoid nests
    erosion: float = 0.0
    scar: float = 0.0  # central white patch
    lacunae: float = 0.0
    rosettes: float = 0.0  # strawberry pattern: red between pale follicles
    scale: float = 0.0


OUTLINE = ("size", "asymmetry", "ragged", "soft", "brown", "pink", "colors", "broken", "rim")  # modify, never absent

TYPICAL: Mapping[str, Signs] = {
    "akiec": Signs(
        size=0.60, asymmetry=0.45, ragged=0.5, soft=0.8, brown=0.16, pink=0.55, colors=0.4,
        rosettes=0.8, scale=0.8, erosion=0.35,
    ),
    "bcc": Signs(
        size=0.45, asymmetry=0.40, ragged=0.3, soft=0.5, brown=0.10, pink=0.38, colors=0.3,
        vessels=0.95, nests=0.75, erosion=0.45,
    ),
    "bkl": Signs(
        size=0.55, asymmetry=0.35, ragged=0.4, soft=0.1, brown=0.55, pink=0.10, colors=0.35,
        milia=0.8, comedones=0.8, ridges=0.75,
    ),
    "df": Signs(
        size=0.45, asymmetry=0.12, ragged=0.1, soft=1.0, brown=0.36, pink=0.32, colors=0.1,
        scar=0.95, network=0.5, rim=1.0,
    ),
    "mel": Signs(
        size=0.75, asymmetry=0.75, ragged=0.7, soft=0.3, brown=0.90, pink=0.18, colors=0.9,
        network=0.6, broken=0.9, globules=0.4, streaks=0.7, blotch=0.85, veil=0.75, regression=0.5,
    ),
    "nv": Signs(
        size=0.45, asymmetry=0.15, ragged=0.15, soft=0.55, brown=0.82, pink=0.16, colors=0.2,
        network=0.8, broken=0.15, globules=0.5,
    ),
    "vasc": Signs(
        size=0.30, asymmetry=0.20, ragged=0.2, soft=0.15, brown=0.02, pink=0.30, colors=0.2, lacunae=1.0,
    ),
}  # fmt: skip
CLASSES = tuple(TYPICAL)

# A lesion of no kind: towards it signs fade.
PLAIN = Signs(size=0.48, asymmetry=0.3, ragged=0.3, soft=0.5, brown=0.42, pink=0.22, colors=0.3)

# What a class is taken for in the clinic, and so what its unclear cases look like.
MIMICS: Mapping[str, tuple[str, ...]] = {
    "akiec": ("bkl", "bcc"),
    "bcc": ("akiec", "nv", "bkl"),
    "bkl": ("mel", "nv", "akiec"),
    "df": ("nv", "bcc"),
    "mel": ("nv", "bkl"),
    "nv": ("mel", "bkl", "df"),
    "vasc": ("bcc", "mel"),
}


def draw_signs(label: str, rng: np.random.Generator, *, difficulty: float, kept: float) -> Signs:
    """The signs of one lesion of class `label`; the draws are the same for every class.

    Args:
        label: one of `CLASSES`.
        rng: the lesion's own.
        difficulty: 0 to 1: how near unclear lesions come to the class they mimic, and how many signs are missing.
        kept: share of the signs that is left, 1 all, 0 a plain lesion of no class.
    Raises:
        DataError: no such class.
    """
    if label not in TYPICAL:
        raise DataError(f"The class must be one of {', '.join(CLASSES)}. Got {label!r}. Choose one of these.")
    pick, unclear, contrast = rng.uniform(size=3)
    spread, missing = rng.standard_normal(len(fields(Signs))), rng.uniform(size=len(fields(Signs)))
    own, mimic = _numbers(TYPICAL[label]), _numbers(TYPICAL[MIMICS[label][int(pick * len(MIMICS[label]))]])
    mixed = own + min(1.0, 1.25 * difficulty * unclear**1.3) * (mimic - own)
    names = [entry.name for entry in fields(Signs)]
    is_outline = np.array([name in OUTLINE for name in names])
    absent = ~is_outline & (missing < 0.1 + 0.3 * difficulty)
    varied = np.where(is_outline, mixed + 0.15 * spread, mixed * np.exp(0.3 * spread))
    shown = np.where(absent, 0.0, varied) * np.where(is_outline, 1.0, 1 - 0.45 * difficulty * contrast)
    plain = _numbers(PLAIN) + np.where(is_outline, 0.13 * spread, 0.0)
    faded = np.clip(plain + kept * (shown - plain), 0, 1.2)
    return Signs(**dict(zip(names, (round(float(value), 4) for value in faded), strict=True)))


def _numbers(signs: Signs) -> np.ndarray:
    return np.array(astuple(signs))
