"""Changes of pixel values, one image at a time: linear maps of color, and the policy's steps that are not linear.

Values are float32 in the stored range (0..255 or 0..65535). What counts in gray levels (posterize, equalize) counts in
256 of them at either depth, so that a 16-bit image is changed as its 8-bit copy would be.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from jaxtyping import Float, Int

from chiron.data.augment.color import ColorMap
from chiron.data.augment.policies import Operation, Step

Pixels = Float[np.ndarray, "_height _width _channels"]


def change_tones(pixels: Pixels, step: ColorMap | Step, max_value: int) -> Pixels:
    """The image after one step, clipped to its range."""
    if isinstance(step, ColorMap):
        recolored = _recolor(pixels, step)
        return np.clip(recolored, 0, max_value, out=recolored)
    return _STEPS[step.name](pixels, step.strength, max_value)


def _recolor(pixels: Pixels, color: ColorMap) -> Pixels:
    if pixels.shape[2] == 1:  # gray is the color with three equal parts
        return pixels * np.float32(color.linear[0].sum()) + np.float32(color.offset[0].sum() * pixels.mean())
    offset = color.offset @ cv2.mean(pixels)[:3]
    return cv2.transform(pixels, np.column_stack([color.linear, offset]))


def _sharpen(pixels: Pixels, factor: float, max_value: int) -> Pixels:
    """A blend with the image smoothed by 3x3; the outermost pixels stay as they are."""
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
    smooth = cv2.filter2D(pixels, -1, kernel).reshape(pixels.shape)
    changed = pixels.copy()
    inner = (slice(1, -1), slice(1, -1))
    changed[inner] = smooth[inner] + np.float32(factor) * (pixels[inner] - smooth[inner])
    return np.clip(changed, 0, max_value)


def _posterize(pixels: Pixels, bits: float, max_value: int) -> Pixels:
    level, step = np.float32(max_value / 255), np.float32(2 ** (8 - int(bits)))
    return np.floor(np.rint(pixels / level) / step) * step * level


def _solarize(pixels: Pixels, threshold: float, max_value: int) -> Pixels:
    return np.where(pixels >= np.float32(threshold * max_value), max_value - pixels, pixels)


def _autocontrast(pixels: Pixels, _: float, max_value: int) -> Pixels:
    """Each channel stretched to the full range; one of a single value stays."""
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    flat = low == high
    low, span = np.where(flat, 0, low), np.where(flat, max_value, high - low)
    return (pixels - low) * (max_value / span).astype(np.float32)


def _equalize(pixels: Pixels, _: float, max_value: int) -> Pixels:
    """Each channel through its cumulative histogram; between gray levels the curve is a straight line."""
    level = max_value / 255
    changed = [
        np.interp(channel / level, np.arange(256), equalizing_curve(_histogram(channel / level))) * level
        for channel in np.moveaxis(pixels, 2, 0)
    ]
    return np.stack(changed, axis=2).astype(np.float32)


def equalizing_curve(counts: Int[np.ndarray, "256"]) -> Float[np.ndarray, "256"]:
    """The new value of 256 gray levels that occur `counts` times, as Pillow makes it; unchanged for few pixels."""
    step = (counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
    if step == 0:
        return np.arange(256.0)
    before = np.cumsum(counts) - counts
    return np.minimum((before + step // 2) // step, 255).astype(np.float64)


def _histogram(levels: Float[np.ndarray, "h w"]) -> Int[np.ndarray, "256"]:
    return np.bincount(np.rint(levels).astype(np.intp).ravel(), minlength=256)


_STEPS: Mapping[Operation, Callable[[Pixels, float, int], Pixels]] = {
    "sharpness": _sharpen,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
