"""Looks: what can be seen of an image without any network, as far as it tells whether the image can be used."""

from dataclasses import dataclass

import cv2
import numpy as np

from chiron.preprocess.canonical import CanonicalImage

_SIDE = 64  # of the picture that color is measured on
_GRAY_BELOW = 0.02  # mean distance of the largest from the smallest channel, in 0..1; JPEG makes gray a little colored
_SHARPNESS_SIDE = 256
_BLANK_BELOW = 2 / 255  # standard deviation of gray, in 0..1


@dataclass(frozen=True)
class Looks:
    """Shorter side, whether there is anything to see, whether it is in color, and detail.

    `detail` is the variance of the Laplacian over the variance of gray, at 256 px on the longer side: a dark or pale
    picture is not a blurred one, and one that is enlarged counts as blurred.
    """

    side_px: int
    is_blank: bool
    is_color: bool
    detail: float


def looks_of(image: CanonicalImage) -> Looks:
    """The looks of a decoded image; a few numbers that cost less than decoding it.

    Source of the sharpness: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548.
    """
    shade = (image if image.dtype == np.uint8 else image >> 8).astype(np.uint8)
    gray = shade[..., 0] if shade.shape[2] == 1 else cv2.cvtColor(shade, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    ratio = _SHARPNESS_SIDE / max(height, width)
    scaled = _resized(gray.astype(np.float32) / 255, max(3, round(height * ratio)), max(3, round(width * ratio)))
    variance = float(scaled.var())
    return Looks(
        side_px=min(height, width),
        is_blank=variance < _BLANK_BELOW**2,
        is_color=_color(shade) >= _GRAY_BELOW,
        detail=float(cv2.Laplacian(scaled, cv2.CV_32F).var()) / max(variance, 1e-8),
    )


def _color(shade: np.ndarray) -> float:
    if shade.shape[2] == 1:
        return 0.0
    small = _resized(shade, _SIDE, _SIDE)
    return float((small.max(axis=2).astype(np.float32) - small.min(axis=2)).mean()) / 255


def _resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area averages where the picture gets smaller, linear between pixels where it grows."""
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
