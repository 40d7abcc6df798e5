"""The 16 × 16 thumbnail by which possible copies are looked up, and the eight ways to lay a picture."""

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8

from chiron.preprocess.decode import CanonicalImage

SIDE = 16
VIEWS = (
    "upright", "rotated 90", "rotated 180", "rotated 270",
    "mirrored", "mirrored and rotated 90", "mirrored and rotated 180", "mirrored and rotated 270",
)  # fmt: skip


def thumbnail(image: CanonicalImage) -> UInt8[np.ndarray, "16 16 3"]:
    """The image averaged down to 16 × 16 pixels, whatever its shape; gray becomes three equal channels.

    16 bits are scaled to the image's own range, since many scanners use only 10 or 12 of them.
    """
    small = shrunk(image, SIDE)
    if image.dtype == np.uint16:
        darkest, contrast = small.min(), np.ptp(small)
        small = (small - darkest) * 255 / contrast if contrast > 1 else small
    return np.broadcast_to(np.rint(small).astype(np.uint8), (SIDE, SIDE, 3)).copy()


def shrunk(image: CanonicalImage, side: int) -> Shaped[np.ndarray, "_side _side _channels"]:
    """Values in 0..255 on side × side pixels: averages where the image is larger, linear in between where smaller."""
    method = cv2.INTER_AREA if min(image.shape[:2]) >= side else cv2.INTER_LINEAR
    values = image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max / 255)
    return cv2.resize(values, (side, side), interpolation=method).reshape(side, side, -1)


def turned(pictures: Shaped[np.ndarray, "*batch side side"], view: int) -> Shaped[np.ndarray, "*batch side side"]:
    """Square pictures laid in view number `view`: mirrored left to right from 4 on, then turned counterclockwise."""
    mirrored = pictures[..., ::-1] if view >= len(VIEWS) // 2 else pictures
    return np.ascontiguousarray(np.rot90(mirrored, view % 4, axes=(-2, -1)))
