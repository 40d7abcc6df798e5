"""How well two pictures agree once one is laid upon the other: correlation of their fine structure after alignment.

Slow changes of brightness are taken out first and contrast is evened. The place is sought in two steps: small planes
are slid over each other at a few scales, whichever of the two is the cropped one; the best place is then refined with
an affine map (enhanced correlation coefficient) on larger planes.
Source: Evangelidis and Psarakis 2008, "Parametric image alignment using enhanced correlation coefficient maximization".
"""

import cv2
import numpy as np
from jaxtyping import Float32

from chiron.data.copies.thumbnail import shrunk
from chiron.preprocess.decode import CanonicalImage

PLANE_SIDE = 96
Plane = Float32[np.ndarray, "96 96"]
Small = Float32[np.ndarray, "_height _width"]

_SEARCH_SIDE = 48
_SCALES = (1.0, 0.95, 0.9, 0.85)
_MARGIN = 2  # pixels by which a window is smaller than its plane, so that it can be shifted
_SMOOTHING = 24  # a plane's side over the standard deviation of the blur that is taken out
_NEIGHBORHOOD = 12  # a plane's side over the standard deviation of the window of local contrast
_FLOOR = 0.2  # share of the whole variance that is added to the local one, so that smooth skin stays smooth
_LEAST_STRUCTURE = 0.01  # gray levels of standard deviation; below stands only what rounding leaves
_WORTH_REFINING = 0.5
_REFINEMENT = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-3)
_BORDER = 3  # pixels left out at the edges, where the blur had no neighbors
_LEAST_OVERLAP = 0.6


def plane(image: CanonicalImage) -> Plane:
    """The image as 96 × 96 gray values, whatever its shape."""
    small = shrunk(image, PLANE_SIDE)
    return small[..., 0] if small.shape[2] == 1 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def agreement(first: Plane, second: Plane) -> float:
    """Correlation in [0, 1] of the two planes after the best alignment found; 0 where there is no structure."""
    if not (_fine(first).any() and _fine(second).any()):
        return 0.0
    if np.array_equal(first, second):
        return 1.0
    coarse, larger_is_first, start = _slid(first, second)
    if coarse < _WORTH_REFINING:
        return max(coarse, 0.0)
    larger, smaller = (first, second) if larger_is_first else (second, first)
    return _refined(_fine(larger), _fine(smaller), start)


def _fine(pixels: Small) -> Small:
    """What is left when everything slow is taken away, at about the same contrast everywhere.

    Without the second step a dark rim or a field border, the same in many images, would decide the correlation.
    """
    fine = pixels - cv2.GaussianBlur(pixels, (0, 0), max(pixels.shape) / _SMOOTHING)
    if fine.std() < _LEAST_STRUCTURE:
        return np.zeros_like(fine)
    local = cv2.GaussianBlur(fine * fine, (0, 0), max(pixels.shape) / _NEIGHBORHOOD)
    return fine / np.sqrt(local + _FLOOR * fine.var())


def _slid(first: Plane, second: Plane) -> tuple[float, bool, Float32[np.ndarray, "2 3"]]:
    """(correlation, whether `first` shows more, map from the other's pixels to its own) at the best scale and shift."""
    best, best_start, best_larger = -1.0, np.eye(2, 3, dtype=np.float32), True
    for larger_is_first, larger, smaller in ((True, first, second), (False, second, first)):
        field = _fine(_resized(larger, _SEARCH_SIDE))
        for scale in _SCALES if larger_is_first else _SCALES[1:]:
            side = round(_SEARCH_SIDE * scale)
            window = _fine(_resized(smaller, side))[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
            _, found, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(field, window, cv2.TM_CCOEFF_NORMED))
            if np.isfinite(found) and found > best:
                k, unit = side / _SEARCH_SIDE, PLANE_SIDE / _SEARCH_SIDE
                shift = (np.array([x, y]) - _MARGIN) * unit + (k - 1) / 2  # pixel centers lie at one half
                best_start = np.array([[k, 0, shift[0]], [0, k, shift[1]]], np.float32)
                best, best_larger = float(found), larger_is_first
    return best, best_larger, best_start


def _resized(pixels: Plane, side: int) -> Small:
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)


def _refined(larger: Plane, smaller: Plane, start: Float32[np.ndarray, "2 3"]) -> float:
    """Correlation where both planes show something, after the affine map that `start` leads to."""
    try:
        _, found = cv2.findTransformECC(smaller, larger, start, cv2.MOTION_AFFINE, _REFINEMENT, None, 1)
    except cv2.error:  # the iterations left the picture
        return 0.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(larger, found, smaller.shape, flags=flags)
    inside = np.zeros_like(larger)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = 1
    both = (inside > 0) & (cv2.warpAffine(inside, found, smaller.shape, flags=flags) == 1)
    if both.mean() < _LEAST_OVERLAP:
        return 0.0
    a, b = laid[both] - laid[both].mean(), smaller[both] - smaller[both].mean()
    length = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / length, 0, 1)) if length > 0 else 0.0
