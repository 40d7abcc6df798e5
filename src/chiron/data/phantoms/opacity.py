"""The finding of the chest phantoms: consolidation, where fluid takes the place of the lung's air."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from chiron.data.phantoms.canvas import EXTENT, Canvas
from chiron.data.phantoms.thorax import Plate

OFF_CENTER = 0.30  # body units: no focus starts nearer to the middle of the chest


@dataclass(frozen=True)
class Focus:
    """One patch of consolidation in body units; `strength` is the share of the air it takes at its densest."""

    x: float
    y: float
    radius: float
    strength: float


@dataclass(frozen=True)
class Opacity:
    """All foci of one patient, the density they add, and where they are."""

    foci: tuple[Focus, ...]
    density: Float[np.ndarray, "size size"]
    mask: UInt8[np.ndarray, "size size"]


def draw_opacity(canvas: Canvas, plate: Plate, rng: np.random.Generator, difficulty: float) -> Opacity:
    """One to three patches with irregular, textured margins inside the lung fields, away from the middle."""
    count = int(rng.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))
    foci = [_place(canvas, plate, rng, difficulty, count) for _ in range(count)]
    x, y = canvas.axes()
    ragged = 0.30 * canvas.noise(rng, 24) + 0.16 * canvas.noise(rng, 52)
    level, density = np.zeros_like(plate.air), np.zeros_like(plate.air)
    for focus in foci:
        turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.5)
        along = ((x - focus.x) * np.cos(turn) + (y - focus.y) * np.sin(turn)) / (focus.radius * stretch)
        across = ((y - focus.y) * np.cos(turn) - (x - focus.x) * np.sin(turn)) / (focus.radius / stretch)
        edge = np.clip((1.15 - np.sqrt(along**2 + across**2) - ragged) / 0.7, 0, 1)
        patch = np.maximum(0, edge**2 * (3 - 2 * edge) - 0.08) / 0.92  # ends: no faint fringe beyond the mask
        level, density = np.maximum(level, patch), np.maximum(density, focus.strength * patch)
    patchy = np.clip(0.82 + 0.25 * canvas.noise(rng, 44), 0.2, 1.2)
    mask = ((level > 0) & (plate.lungs > 0)).astype(np.uint8)
    # The type of the plate itself, so that beyond the patch the sum has the very bits of a plate without it.
    added = (density * patchy * plate.air * plate.lungs).astype(plate.density.dtype)
    return Opacity(tuple(foci), added, mask)


def _place(canvas: Canvas, plate: Plate, rng: np.random.Generator, difficulty: float, count: int) -> Focus:
    """A focus that lies mostly inside a lung field and off the image's center; the one of several is smaller."""
    radius = rng.uniform(0.9, 1.1) * (0.195, 0.160, 0.147)[count - 1] * (1.05 - 0.35 * difficulty)
    strength = rng.uniform(0.85, 1.15) * (1.24 - 0.60 * difficulty)
    depth = cv2.distanceTransform(plate.lungs, cv2.DIST_L2, 3) / canvas.px_per_unit
    # Tries in body units instead of a random pixel: nearly always the same place at every image size.
    x, y = rng.uniform((-0.75, -0.80), (0.75, 0.60), (1000, 2)).T
    row, column = (((value + EXTENT) * canvas.px_per_unit).astype(int) for value in (y, x))
    first = np.flatnonzero((depth[row, column] > 0.50 * radius) & (np.hypot(x, y) > OFF_CENTER))[0]
    return Focus(float(x[first]), float(y[first]), radius, strength)
