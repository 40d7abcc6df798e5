"""Drawing in body units: the plate that anatomy is drawn on, smooth curves, strokes, dots and smooth noise.

Body units: x to the image's right (of a chest: the patient's left), y down, (0, 0) the middle of the chest or of the
lesion; an image shows about -1..1 in both. The plate reaches a little further, so that a turned or shifted view still
finds something to show.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from chiron.core.hashing import seed_of

EXTENT = 1.3  # the plate shows -EXTENT..EXTENT
_SUBPIXEL_BITS = 4

Points: TypeAlias = Float[np.ndarray, "_points 2"]
Field: TypeAlias = Float[np.ndarray, "size size"]


def generator_of(*names: int | str) -> np.random.Generator:
    """A random generator that is a function of names alone, so that no draw depends on an earlier one elsewhere."""
    return np.random.Generator(np.random.Philox(key=seed_of(*names)))


@dataclass(frozen=True)
class Canvas:
    """A square plate; every method returns a float32 field in [0, 1] of the plate's size."""

    px_per_unit: int
    extent: float = EXTENT

    @property
    def size(self) -> int:
        """Side of the plate in pixels."""
        return round(2 * self.extent * self.px_per_unit)

    def axes(self) -> tuple[Float[np.ndarray, "1 size"], Float[np.ndarray, "size 1"]]:
        """The x of every column and the y of every row, in body units."""
        ticks = ((np.arange(self.size) + 0.5) / self.px_per_unit - self.extent).astype(np.float32)
        return ticks[None, :], ticks[:, None]

    def _to_px(self, points: Points) -> np.ndarray:
        px = (np.asarray(points) + self.extent) * self.px_per_unit - 0.5
        return np.round(px * 2**_SUBPIXEL_BITS).astype(np.int32)

    def fill(self, *outlines: Points, blur: float = 0.0) -> Field:
        """One field with all outlines filled; `blur` is the softness of their edges in body units."""
        layer = np.zeros((self.size, self.size), np.uint8)
        cv2.fillPoly(layer, [self._to_px(outline) for outline in outlines], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return self._soften(layer, blur)

    def stroke(self, lines: list[Points], width: float, *, core: float = 1.0, blur: float = 0.0) -> Field:
        """One field with all lines drawn `width` wide; `core` below 1 leaves a bright rim, as a bone's cortex has."""
        layer = np.zeros((self.size, self.size), np.uint8)
        px = [self._to_px(line) for line in lines]
        thickness = max(1, round(width * self.px_per_unit))
        cv2.polylines(layer, px, False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        if core < 1 and thickness >= 3:
            inner = max(1, round(0.6 * thickness))
            cv2.polylines(layer, px, False, round(255 * core), inner, cv2.LINE_AA, _SUBPIXEL_BITS)
        return self._soften(layer, blur)

    def dots(self, middles: Points, radii: Float[np.ndarray, "_points"], blur: float = 0.0) -> Field:
        """One field with a filled disc around every point."""
        layer = np.zeros((self.size, self.size), np.uint8)
        sizes = np.round(np.asarray(radii) * self.px_per_unit * 2**_SUBPIXEL_BITS).astype(int)
        for (x, y), radius in zip(self._to_px(middles).tolist(), sizes.tolist(), strict=True):
            cv2.circle(layer, (x, y), radius, 255, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
        return self._soften(layer, blur)

    def _soften(self, layer: UInt8[np.ndarray, "size size"], blur: float) -> Field:
        field = layer.astype(np.float32) / 255
        return soften(field, blur * self.px_per_unit)

    def noise(self, rng: np.random.Generator, cells: int) -> Field:
        """Smooth noise (mean 0, standard deviation about 1) with `cells` bumps along a side."""
        # Drawn on a coarse grid, so that the same names give the same pattern at every image size.
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        return cv2.resize(grid, (self.size, self.size), interpolation=cv2.INTER_CUBIC)


def soften(field: Field, sigma_px: float) -> Field:
    """The field after a Gaussian blur; below a third of a pixel nothing is done."""
    return field if sigma_px < 0.3 else cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)


def soft_step(value: Field) -> Field:
    """0 below 0, 1 above 1, with a soft passage between."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def smooth_curve(points: Points | list[tuple], *, closed: bool = False, steps: int = 8) -> Points:
    """A Catmull-Rom curve through `points`, `steps` points a segment."""
    knots = np.asarray(points, np.float64)
    ring = np.vstack([knots[-1:], knots, knots[:2]]) if closed else np.vstack([knots[:1], knots, knots[-1:]])
    p0, p1, p2, p3 = (ring[i : len(ring) - 3 + i, None, :] for i in range(4))
    t = (np.arange(steps) / steps)[None, :, None]
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.vstack([flat, knots[-1:]])


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> Points:
    """The outline of an ellipse."""
    turn, t = np.deg2rad(degrees), np.linspace(0, 2 * np.pi, 40, endpoint=False)
    along, across = radius_x * np.cos(t), radius_y * np.sin(t)
    return np.stack(
        [x + along * np.cos(turn) - across * np.sin(turn), y + along * np.sin(turn) + across * np.cos(turn)], axis=1
    )
