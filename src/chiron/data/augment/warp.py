"""All geometry of a draw as one homography from the final image to the stored one, and what moves along it.

Coordinates are (x, y) at pixel centers: the middle of the top left pixel is (0, 0). A crop is cut at whole pixels
of the stored image before anything else moves, so that what turns in from outside of it is black, as when the steps run
one by one.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from chiron.data.augment.draw import Draw
from chiron.data.augment.policies import GEOMETRY, Step
from chiron.preprocess.resize import StoredImage

Matrix = Float[np.ndarray, "3 3"]
_MINIFIES = 1.3  # stored pixels a final pixel: beyond, bilinear samples of a sharp image come out over 1.1 x too sharp


@dataclass(frozen=True)
class Warp:
    """Where every final pixel comes from.

    `matrix` maps a final pixel to a pixel of the view `stored[top:bottom, left:right]`. Outside of the view lies black
    where `moves`; else its border is repeated, as nothing but half a pixel of a magnified border lies outside.
    """

    matrix: Matrix
    left: int
    top: int
    right: int
    bottom: int
    moves: bool
    presmooth: float  # sigma in stored pixels, before a warp that makes things smaller than evaluation does; 0 is none

    @property
    def is_affine(self) -> bool:
        """Whether parallel lines stay parallel."""
        return bool((self.matrix[2] == (0, 0, 1)).all())

    @property
    def is_crop(self) -> bool:
        """Whether it is a crop, mirrored or not, that is neither turned nor moved."""
        return not self.moves and bool(self.matrix[0, 1] == 0)


def warp_of(draw: Draw, *, stored_size: int, img_size: int) -> Warp:
    """The composed geometry of a draw."""
    left, right = _whole_pixels(draw.crop.x, draw.crop.width, stored_size)
    top, bottom = _whole_pixels(draw.crop.y, draw.crop.height, stored_size)
    # From the final image backwards through each step; every step maps the final square onto itself but the last.
    # Steps that change nothing are left out: a product of small matrices takes as long as a warp of a small image.
    moving = [_policy_step(step, img_size) for step in reversed(draw.policy) if step.name in GEOMETRY]
    if any(draw.corners):
        moving.append(_perspective(draw.corners, img_size))
    if any((draw.degrees, draw.shear, draw.magnification != 1, draw.shift_x, draw.shift_y)):
        moving.append(_affine(draw, img_size))
    backwards = [*moving, _dihedral(draw, img_size), _resize(right - left, bottom - top, img_size)]
    matrix, moves = reduce(lambda composed, step: step @ composed, backwards), bool(moving)
    presmooth = _presmooth(matrix, img_size, evaluated=max(1.0, stored_size / img_size))
    return Warp(matrix, left, top, right, bottom, moves, presmooth)


def warp_image(image: StoredImage, warp: Warp, img_size: int) -> Float[np.ndarray, "img_size img_size _channels"]:
    """The warped image, bilinear, float32 in the stored value range."""
    view = image[warp.top : warp.bottom, warp.left : warp.right].astype(np.float32)
    if warp.presmooth:
        side = kernel_side(warp.presmooth)
        view = cv2.GaussianBlur(view, (side, side), warp.presmooth)
    warped = _resized(view, warp, img_size) if warp.is_crop else _remap(view, warp, img_size, cv2.INTER_LINEAR)
    return warped.reshape(img_size, img_size, -1)


def warp_mask(mask: UInt8[np.ndarray, "_s _s"], warp: Warp, img_size: int) -> UInt8[np.ndarray, "img_size img_size"]:
    """The mask of the stored image moved as the image is: nearest pixel, 0 outside."""
    return _remap(mask[warp.top : warp.bottom, warp.left : warp.right], warp, img_size, cv2.INTER_NEAREST)


def warp_points(
    points: Float[np.ndarray, "n 2"], warp: Warp, img_size: int
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
    """Where points of the stored image come to lie, and which can be seen there (inside crop and final image)."""
    in_view = np.column_stack([points - (warp.left, warp.top), np.ones(len(points))])
    homogeneous = in_view @ np.linalg.inv(warp.matrix).T
    moved = homogeneous[:, :2] / homogeneous[:, 2:]
    size = np.array([warp.right - warp.left, warp.bottom - warp.top])
    inside = ((in_view[:, :2] >= -0.5) & (in_view[:, :2] < size - 0.5)).all(axis=1)
    return moved, inside & ((moved >= -0.5) & (moved < img_size - 0.5)).all(axis=1) & (homogeneous[:, 2] > 0)


def kernel_side(sigma: float) -> int:
    """The side of a Gaussian kernel that holds three sigma to either side; odd."""
    return 2 * int(np.ceil(3 * sigma)) + 1


def _resized(view: np.ndarray, warp: Warp, img_size: int) -> np.ndarray:
    """What `_remap` makes of a crop, in a sixth of the time."""
    scaled = cv2.resize(view, (img_size, img_size), interpolation=cv2.INTER_LINEAR)
    (to_the_right, _, _), (_, down, _), _ = warp.matrix
    return scaled[:: 1 if down > 0 else -1, :: 1 if to_the_right > 0 else -1]


def _remap(view: np.ndarray, warp: Warp, img_size: int, interpolation: int) -> np.ndarray:
    how: dict[str, Any] = {
        "dsize": (img_size, img_size),
        "flags": interpolation | cv2.WARP_INVERSE_MAP,
        "borderMode": cv2.BORDER_CONSTANT if warp.moves else cv2.BORDER_REPLICATE,
    }
    if warp.is_affine:
        return cv2.warpAffine(view, warp.matrix[:2], **how)
    return cv2.warpPerspective(view, warp.matrix, **how)


def _whole_pixels(start: float, share: float, side: int) -> tuple[int, int]:
    """First and last pixel (exclusive) of a part of the side; at least one pixel."""
    length = min(max(1, round(share * side)), side)
    first = min(round(start * side), side - length)
    return first, first + length


def _resize(width: int, height: int, img_size: int) -> Matrix:
    """Final pixel to pixel of the crop, both at pixel centers."""
    x, y = width / img_size, height / img_size
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _dihedral(draw: Draw, img_size: int) -> Matrix:
    """Mirrors first, then quarter turns; whole numbers, so that pixels stay exactly what they are."""
    last = img_size - 1
    x, y = (-1.0 if mirrored else 1.0 for mirrored in (draw.mirror_x, draw.mirror_y))
    matrix = np.array([[x, 0, last * draw.mirror_x], [0, y, last * draw.mirror_y], [0, 0, 1]])
    if draw.quarter_turns % 4 == 0:
        return matrix
    quarter = np.array([[0.0, -1, last], [1, 0, 0], [0, 0, 1]])  # what comes to (x, y) came from (last - y, x)
    return matrix @ np.linalg.matrix_power(quarter, draw.quarter_turns % 4)


def _affine(draw: Draw, img_size: int) -> Matrix:
    """Rotation, then shear, magnification and shift, about the image center."""
    angle, slope = np.deg2rad(draw.degrees), np.tan(np.deg2rad(draw.shear))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, slope], [0, 1]]) / draw.magnification
    return _about(linear, (img_size - 1) / 2, np.array([draw.shift_x, draw.shift_y]) * img_size)


def _about(linear: Float[np.ndarray, "2 2"], center: float, shift: Float[np.ndarray, "2"] | None = None) -> Matrix:
    """`linear @ (p - center - shift) + center`, as a matrix."""
    middle = np.full(2, center)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = middle - linear @ (middle if shift is None else middle + shift)
    return matrix


def _perspective(corners: tuple[float, ...], img_size: int) -> Matrix:
    """The map that takes the four moved corners back to those of the image."""
    last = img_size - 1
    square = np.array([[0, 0], [last, 0], [last, last], [0, last]], np.float32)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    moved = square + inward * np.reshape(corners, (4, 2)) * img_size
    return cv2.getPerspectiveTransform(moved.astype(np.float32), square)


def _policy_step(step: Step, img_size: int) -> Matrix:
    """Final pixel to the pixel before one operation of a policy; shears are about the top left corner."""
    linear, shift = np.eye(2), np.zeros(2)
    if step.name == "rotate":
        angle = np.deg2rad(step.strength)
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    elif step.name in ("shear_x", "shear_y"):
        place = (0, 1) if step.name == "shear_x" else (1, 0)
        linear[place] = step.strength
        return _about(linear, -0.5)
    else:
        shift[0 if step.name == "translate_x" else 1] = step.strength * img_size
    return _about(linear, (img_size - 1) / 2, shift)


def _presmooth(matrix: Matrix, img_size: int, *, evaluated: float) -> float:
    """Sigma that a warp needs so that its images are not sharper than evaluation's; 0 where it needs none.

    Evaluation takes one final pixel from `evaluated` stored ones, after an antialiased resize. A warp that takes it
    from more of them skips details that a resize would have averaged.
    """
    middle = (img_size - 1) / 2
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    x, y, z = (row[0] * middle + row[1] * middle + row[2] for row in ((a, b, c), (d, e, f), (g, h, i)))
    a, b, d, e = ((value - place / z * low) / z for value, place, low in ((a, x, g), (b, x, h), (d, y, g), (e, y, h)))
    taken = (math.hypot(a + e, d - b) + math.hypot(a - e, b + d)) / 2  # along the direction that shrinks most
    if taken <= max(_MINIFIES, 1.001 * evaluated):
        return 0.0
    return 0.5 * float(np.sqrt((taken / evaluated) ** 2 - 1))
