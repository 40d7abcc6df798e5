"""Lung fields of a frontal chest radiograph without any training: contrast, threshold, morphology.

A rough guide to where the lungs are, never a reference standard: where it finds nothing plausible it says so and gives
two boxes. Deterministic; OpenCV and numpy alone. Every number of pixels below counts on a 256 x 256 copy of the image.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from chiron.preprocess.decode import CanonicalImage

_SIDE = 256
_AREA = (0.10, 0.70)  # of the image; less or more cannot be the lungs
# Shares of Otsu's threshold that are tried: where lungs run into tissue at the border, a lower one parts them.
_THRESHOLDS = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)
_AIR = 0.45  # of Otsu's threshold of the whole image; what is darker and touches the border is air around the body
_CUT = (0.25, 0.75)  # of the width; the middle of a chest lies in between
# Rows and columns of the fallback's two boxes, shares of the sides.
_BOXES = (((0.15, 0.85), (0.10, 0.45)), ((0.15, 0.85), (0.55, 0.90)))

Mask = UInt8[np.ndarray, "_height _width"]


@dataclass(frozen=True)
class LungMask:
    """Lung fields of one image.

    Sides are those of the image: the patient's right lung lies on the image left, unless the image is mirrored.
    """

    mask: Mask  # 0 or 1, of the image's size
    is_fallback: bool  # two boxes, as nothing plausible was found
    cut: float  # where the image is divided into its sides: mean x of the mask, share of the width in [0.25, 0.75]

    @property
    def image_left(self) -> Mask:
        """The part of the mask left of the cut."""
        return np.where(self._left_of_cut(), self.mask, 0).astype(np.uint8)

    @property
    def image_right(self) -> Mask:
        """The part of the mask right of the cut."""
        return np.where(self._left_of_cut(), 0, self.mask).astype(np.uint8)

    def _left_of_cut(self) -> np.ndarray:
        width = self.mask.shape[1]
        return (np.arange(width) + 0.5) / width < self.cut


def lung_mask(image: CanonicalImage) -> LungMask:
    """The lung fields of a canonical or stored image of any size, depth and number of channels; never raises on one."""
    found = _found(_small_gray(image))
    is_fallback = not _AREA[0] <= found.mean() <= _AREA[1]
    height, width = image.shape[:2]
    small = _two_boxes() if is_fallback else found
    mask = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return LungMask(mask, is_fallback, cut_of(mask))


def cut_of(mask: Mask) -> float:
    """Where a mask is divided into its sides: mean x as a share of the width, in [0.25, 0.75]; empty: the middle."""
    columns = mask.sum(axis=0, dtype=np.float64)
    if not columns.any():
        return 0.5
    middles = (np.arange(mask.shape[1]) + 0.5) / mask.shape[1]
    return float(np.clip(middles @ columns / columns.sum(), *_CUT))


def _small_gray(image: CanonicalImage) -> UInt8[np.ndarray, "256 256"]:
    """Luma, stretched to its own range (16-bit images may use little of theirs), on the working grid."""
    gray = (
        image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) if image.shape[2] == 3 else image[..., 0]
    )
    how = cv2.INTER_AREA if max(gray.shape) > _SIDE else cv2.INTER_LINEAR
    small = cv2.resize(gray.astype(np.float32), (_SIDE, _SIDE), interpolation=how)
    low, high = float(small.min()), float(small.max())
    return ((small - low) * (255 / max(high - low, 1.0))).round().astype(np.uint8)


def _found(gray: UInt8[np.ndarray, "256 256"]) -> UInt8[np.ndarray, "256 256"]:
    """The two largest dark parts inside the body that do not touch the border, at the threshold that finds most."""
    even = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(gray)
    smooth = cv2.GaussianBlur(even, (0, 0), 2.5)  # ribs lose their edges, lungs do not
    body = _body(cv2.GaussianBlur(gray, (7, 7), 0))
    if not body.any():
        return np.zeros_like(gray)
    otsu = _otsu(smooth[body])
    found = [_largest_parts(((smooth < share * otsu) & body).astype(np.uint8)) for share in _THRESHOLDS]
    return max(found, key=np.count_nonzero)


def _body(gray: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Where the body is: without the nearly black parts that touch the border, which would set Otsu's threshold."""
    black = (gray < _AIR * _otsu(gray)).astype(np.uint8)
    return (black == 0) | (_off_border(black) == 1)


def _otsu(values: UInt8[np.ndarray, "..."]) -> float:
    threshold, _ = cv2.threshold(values.reshape(-1, 1), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return float(threshold)


def _largest_parts(dark: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """What opening leaves away from the border, closed over ribs; its two largest parts, holes filled."""
    apart = _off_border(cv2.morphologyEx(dark, cv2.MORPH_OPEN, _ellipse(9)))
    return _filled(_two_largest(cv2.morphologyEx(apart, cv2.MORPH_CLOSE, _ellipse(15))))


def _ellipse(side: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _off_border(dark: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Without the parts that touch the border."""
    _, parts = cv2.connectedComponents(dark)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.where(np.isin(parts, border), 0, dark).astype(np.uint8)


def _two_largest(dark: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(dark)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    kept = 1 + np.argsort(-areas, kind="stable")[:2]
    return np.isin(parts, kept).astype(np.uint8)


def _filled(mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """With holes filled: what is not reached from the border belongs to the mask."""
    _, outside = cv2.connectedComponents(np.pad(1 - mask, 1, constant_values=1).astype(np.uint8), connectivity=4)
    return (outside[1:-1, 1:-1] != outside[0, 0]).astype(np.uint8)


def _two_boxes() -> UInt8[np.ndarray, "256 256"]:
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    for (top, bottom), (left, right) in _BOXES:
        mask[round(top * _SIDE) : round(bottom * _SIDE), round(left * _SIDE) : round(right * _SIDE)] = 1
    return mask
