"""The structures inside a synthetic lesion, one function a sign: each adds pigment, blood, keratin or scar.

Every function takes the same four things: the ink it adds to, the lesion's place, its signs and a generator of its own.
What it adds beyond the lesion is cut off afterwards by the lesion's outline.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from chiron.data.phantoms.canvas import Canvas, Field, Points, smooth_curve, soft_step
from chiron.data.phantoms.signs import Signs


@dataclass
class Ink:
    """What colors the lesion, a field each; `blue` is melanin that lies deep, `white` hides what lies below it."""

    brown: Float[np.ndarray, "size size"]
    blue: Float[np.ndarray, "size size"]
    blood: Float[np.ndarray, "size size"]
    yellow: Float[np.ndarray, "size size"]
    white: Float[np.ndarray, "size size"]


@dataclass(frozen=True)
class Place:
    """Where the lesion lies on its canvas: `reach` is 0 in its middle and 1 at its border; `radius` in body units."""

    canvas: Canvas
    reach: Float[np.ndarray, "size size"]
    radius: float


def _network(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Pigment network: a honeycomb of brown lines; broken ones vary in width and leave parts out."""
    lines = _honeycomb(place.canvas, rng, cell=rng.uniform(0.044, 0.062), warp=0.016 + 0.03 * signs.broken)
    patchy = np.clip(0.9 + 0.9 * signs.broken * place.canvas.noise(rng, 7), 0, 1.8)
    where = 1 - signs.rim * soft_step((0.75 - place.reach) / 0.4)
    strength = signs.network * patchy * where
    ink.brown += strength * (0.70 * lines - 0.24)


def _globules(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Brown dots and globules."""
    middles = _spread(place, rng, 36, 0.9)
    radii = rng.uniform(0.010, 0.026, len(middles)) * (1 + 0.5 * signs.broken * rng.uniform(-1, 1, len(middles)))
    ink.brown += 0.95 * signs.globules * place.canvas.dots(middles, radii, blur=0.005)


def _streaks(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Radial streaks and pseudopods on one part of the border."""
    middle, count = rng.uniform(0, 2 * np.pi), 15
    angles = middle + np.linspace(-1.2, 1.2, count) + rng.normal(0, 0.08, count)
    start, end = rng.uniform(0.60, 0.75, count), rng.uniform(0.92, 1.1, count)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1) * place.radius
    lines = [np.stack([way * a, way * b]) for way, a, b in zip(ways, start, end, strict=True)]
    knobs = place.canvas.dots(ways * end[:, None], np.full(count, 0.020))
    ink.brown += 1.0 * signs.streaks * np.maximum(place.canvas.stroke(lines, 0.022, blur=0.005), knobs)


def _blotch(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """A dark area without structure, beside the middle."""
    ink.brown += 1.5 * signs.blotch * _area(place, rng, off=0.45, radius=0.42)


def _veil(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Blue-white veil: deep pigment below a white haze."""
    area = _area(place, rng, off=0.30, radius=0.48)
    ink.blue += 1.15 * signs.veil * area
    ink.brown *= 1 - 0.55 * min(1, signs.veil) * area
    ink.white += 0.26 * signs.veil * area


def _regression(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """A paler scar-like area with pepper-like gray dots."""
    area = _area(place, rng, off=0.6, radius=0.34)
    ink.brown *= 1 - 0.75 * min(1, signs.regression) * area
    ink.white += 0.45 * signs.regression * area
    ink.blue += 0.8 * signs.regression * area * place.canvas.dots(_spread(place, rng, 120, 1.0), np.full(120, 0.007))


def _milia(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Milia-like cysts: small bright balls."""
    middles = _spread(place, rng, 22, 0.85)
    cysts = place.canvas.dots(middles, rng.uniform(0.012, 0.026, len(middles)), blur=0.006)
    ink.white += 0.75 * signs.milia * cysts
    ink.yellow += 0.25 * signs.milia * cysts


def _comedones(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Comedo-like openings: dark plugs of keratin, larger and rounder than globules."""
    middles = _spread(place, rng, 13, 0.8)
    radii = rng.uniform(0.020, 0.042, len(middles))
    plugs = place.canvas.dots(middles, radii, blur=0.004)
    ring = place.canvas.dots(middles, radii * 1.45, blur=0.010)
    ink.brown += signs.comedones * (1.5 * plugs - 0.25 * ring)
    ink.yellow += 0.6 * signs.comedones * ring


def _ridges(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Ridges and furrows, cerebriform or like a fingerprint."""
    x, y = place.canvas.axes()
    turn, bend = rng.uniform(0, np.pi), place.canvas.noise(rng, 9)
    wave = np.sin((x * math.cos(turn) + y * math.sin(turn)) * 30 + 4.0 * bend)
    furrows = soft_step((wave - 0.2) / 0.8) * np.clip(0.8 + 0.4 * place.canvas.noise(rng, 6), 0.2, 1.3)
    ink.brown += signs.ridges * (0.48 * furrows - 0.12)
    ink.yellow += 0.30 * signs.ridges * (1 - furrows)


def _vessels(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Arborizing vessels: bright red trunks that come in from the border and branch into thin ones."""
    total = np.zeros_like(ink.blood)
    turns = rng.uniform(0, 2 * np.pi) + np.array([0.0, 2.3, 4.2]) + rng.normal(0, 0.3, 3)
    tips, way = place.radius * 0.95 * np.stack([np.cos(turns), np.sin(turns)], axis=1), turns + np.pi
    for level, (width, strength) in enumerate(((0.020, 1.0), (0.014, 0.85), (0.010, 0.7), (0.008, 0.55))):
        length = place.radius * (0.52 - 0.09 * level) * rng.uniform(0.7, 1.2, len(way))
        bend = way + rng.normal(0, 0.5, len(way))
        middle = tips + 0.5 * length[:, None] * np.stack([np.cos(way), np.sin(way)], axis=1)
        end = middle + 0.5 * length[:, None] * np.stack([np.cos(bend), np.sin(bend)], axis=1)
        lines: list[Points] = [smooth_curve(line, steps=4) for line in np.stack([tips, middle, end], axis=1)]
        total = np.maximum(total, strength * place.canvas.stroke(lines, width, blur=0.003))
        spread = rng.uniform(0.3, 0.75, len(way))
        way, tips = np.concatenate([bend - spread, bend + spread]), np.concatenate([end, end])
    ink.blood += 1.25 * signs.vessels * total
    ink.white += 0.12 * signs.vessels * soft_step((0.9 - place.reach) / 0.5)  # the pearly ground below them


def _nests(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Blue-gray ovoid nests, mostly towards the border."""
    turns, far = rng.uniform(0, 2 * np.pi, 9), rng.uniform(0.30, 0.85, 9) * place.radius
    middles = np.stack([far * np.cos(turns), far * np.sin(turns)], axis=1)
    nests = place.canvas.dots(middles, rng.uniform(0.030, 0.075, 9), blur=0.012)
    nests = nests * np.clip(0.85 + 0.35 * place.canvas.noise(rng, 26), 0, 1.5)
    ink.blue += 1.15 * signs.nests * nests
    ink.brown += 0.45 * signs.nests * nests


def _erosion(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """A raw or crusted spot: blood, and serum that dried."""
    area = soft_step(2.2 * _area(place, rng, off=0.35, radius=0.20))
    ink.blood += 1.1 * signs.erosion * area
    ink.brown += 0.35 * signs.erosion * area * np.clip(place.canvas.noise(rng, 18), 0, 2)
    ink.yellow += 0.5 * signs.erosion * area


def _scar(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """A white patch in the middle with fine white lines around it."""
    middle = soft_step((0.62 + 0.08 * place.canvas.noise(rng, 8) - place.reach) / 0.35)
    lines = _honeycomb(place.canvas, rng, cell=0.11, warp=0.05) * soft_step((0.85 - place.reach) / 0.4)
    ink.white += signs.scar * (0.50 * middle + 0.22 * lines)
    ink.brown *= 1 - 0.6 * min(1, signs.scar) * middle


def _lacunae(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Red to purple lakes with paler walls between them; sometimes one is clotted and black."""
    walls = _honeycomb(place.canvas, rng, cell=rng.uniform(0.12, 0.2), warp=0.08)
    dark, clotted = rng.uniform(0.9, 1.6), rng.uniform() < 0.3
    lakes = soft_step((1.0 - place.reach) / 0.25) * (1 - 0.40 * walls)
    ink.blood += dark * signs.lacunae * lakes
    ink.blue += 0.30 * signs.lacunae * lakes
    if clotted:
        ink.brown += 1.6 * signs.lacunae * _area(place, rng, off=0.3, radius=0.4) * lakes


def _rosettes(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """Strawberry pattern: a red network around pale follicles with a yellow plug."""
    walls = _honeycomb(place.canvas, rng, cell=rng.uniform(0.075, 0.105), warp=0.035)
    patchy = np.clip(0.9 + 0.5 * place.canvas.noise(rng, 5), 0, 1.5)
    ink.blood += 0.55 * signs.rosettes * patchy * walls
    ink.white += 0.24 * signs.rosettes * patchy * soft_step((0.25 - walls) / 0.25)
    ink.yellow += 0.20 * signs.rosettes * (1 - walls)


def _scale(ink: Ink, place: Place, signs: Signs, rng: np.random.Generator) -> None:
    """White to yellow flakes of keratin on the surface."""
    patches = soft_step((place.canvas.noise(rng, 9) - 0.2) / 0.8)
    flakes = soft_step((place.canvas.noise(rng, 30) + 0.5 * place.canvas.noise(rng, 56) - 0.35) / 0.6) * patches
    ink.white += 0.85 * signs.scale * flakes
    ink.yellow += 0.35 * signs.scale * patches


# In the order in which they are drawn: later ones lie above earlier ones.
STRUCTURES: Mapping[str, Callable[[Ink, Place, Signs, np.random.Generator], None]] = {
    "network": _network,
    "globules": _globules,
    "streaks": _streaks,
    "blotch": _blotch,
    "ridges": _ridges,
    "regression": _regression,
    "veil": _veil,
    "nests": _nests,
    "rosettes": _rosettes,
    "lacunae": _lacunae,
    "scar": _scar,
    "vessels": _vessels,
    "erosion": _erosion,
    "comedones": _comedones,
    "milia": _milia,
    "scale": _scale,
}


def _honeycomb(canvas: Canvas, rng: np.random.Generator, *, cell: float, warp: float) -> Field:
    """Lines (1) around cells (0) of about `cell` body units, bent by up to about `warp`."""
    x, y = canvas.axes()
    bent_x, bent_y = x + warp * canvas.noise(rng, 12), y + warp * canvas.noise(rng, 12)
    first, wave = rng.uniform(0, np.pi), 4 * math.pi / (math.sqrt(3) * cell)
    turns = [first + k * math.pi / 3 for k in (0, 2, 4)]
    waves = [np.cos(wave * math.cos(turn) * bent_x + wave * math.sin(turn) * bent_y) for turn in turns]
    return np.clip((0.4 - waves[0] - waves[1] - waves[2]) / 1.5, 0, 1)


def _spread(place: Place, rng: np.random.Generator, count: int, share: float) -> Points:
    """Points all over the inner `share` of the lesion."""
    far, turn = share * place.radius * np.sqrt(rng.uniform(size=count)), rng.uniform(0, 2 * np.pi, count)
    return np.stack([far * np.cos(turn), far * np.sin(turn)], axis=1)


def _area(place: Place, rng: np.random.Generator, *, off: float, radius: float) -> Field:
    """An irregular soft area whose middle lies `off` radii from that of the lesion."""
    x, y = place.canvas.axes()
    turn = rng.uniform(0, 2 * np.pi)
    away = np.hypot(x / place.radius - off * math.cos(turn), y / place.radius - off * math.sin(turn))
    return soft_step((radius * (1.25 + 0.35 * place.canvas.noise(rng, 9)) - away) / (0.5 * radius) + 0.2)
