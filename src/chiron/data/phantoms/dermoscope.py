"""How a dermoscopic image is taken: pose, light, gel, hairs, ruler and the camera. Nothing here knows a class."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from chiron.data.phantoms.canvas import EXTENT, Canvas, smooth_curve
from chiron.data.phantoms.planted import BASE_RATE

_VIEW = 1.0  # body units from the middle of a view to its edge, before zoom


@dataclass(frozen=True)
class DermoscopeShot:
    """How one image was taken. Never depends on the label."""

    rotation_degrees: float
    mirrored: int
    zoom: float
    shift_x: float
    shift_y: float
    exposure: float
    red_gain: float
    blue_gain: float
    light_angle: float
    light_fall: float
    vignette: float
    field_radius: float  # of the round field that a dermoscope shows, in half image sides; large: not to be seen
    hairs: int
    hair_gray: float
    bubbles: int
    ruler: int
    blur_px: float
    noise: float


def draw_dermoscope_shot(rng: np.random.Generator, difficulty: float) -> DermoscopeShot:
    """Random numbers for one image."""
    hairy, framed, marked, wet = rng.uniform(size=4)
    return DermoscopeShot(
        rotation_degrees=rng.uniform(0, 360),
        mirrored=int(rng.integers(0, 2)),
        zoom=rng.uniform(0.92, 1.08),
        shift_x=rng.uniform(-0.05, 0.05),
        shift_y=rng.uniform(-0.05, 0.05),
        exposure=rng.uniform(0.84, 1.08),
        red_gain=rng.uniform(0.94, 1.07),
        blue_gain=rng.uniform(0.88, 1.14),
        light_angle=rng.uniform(0, 2 * np.pi),
        light_fall=rng.uniform(0, 0.16),
        vignette=rng.uniform(0, 0.30),
        field_radius=rng.uniform(1.08, 1.30) if framed < 0.2 else 2.0,
        hairs=int(rng.integers(6, 26) if hairy < 0.25 else rng.integers(0, 4)),
        hair_gray=rng.uniform(0.04, 0.30),
        bubbles=int(rng.integers(3, 12)) if wet < 0.15 else 0,
        ruler=int(marked < BASE_RATE / 2),
        blur_px=rng.uniform(0.0015, 0.0040),
        noise=rng.uniform(0.6, 1.4) * (0.010 + 0.012 * difficulty),
    )


def pose_of(shot: DermoscopeShot, canvas: Canvas, side: int) -> Float[np.ndarray, "2 3"]:
    """The affine map from plate pixels to the pixels of a `side` x `side` view."""
    turn, half = np.deg2rad(shot.rotation_degrees), side / 2
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = shot.zoom * spin @ np.diag([1 - 2.0 * shot.mirrored, 1.0]) * (half / _VIEW / canvas.px_per_unit)
    middle = EXTENT * canvas.px_per_unit - 0.5
    offset = half * np.array([1 + shot.shift_x, 1 + shot.shift_y]) - 0.5 - linear @ [middle, middle]
    return np.column_stack([linear, offset])


def take_picture(
    density: Float[np.ndarray, "size size 3"],
    hairs: Float[np.ndarray, "size size"],
    shot: DermoscopeShot,
    rng: np.random.Generator,
    *,
    gain: float,
    corner_mark: bool,
) -> UInt8[np.ndarray, "size size 3"]:
    """The RGB picture of skin. Light and color come from the shot and from `gain`, never from the pixels."""
    size = len(density)
    sigma = shot.blur_px * size
    if sigma >= 0.3:
        density = cv2.GaussianBlur(density, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    ticks = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = ticks[None, :], ticks[:, None]
    light = 1 + shot.light_fall * (x * math.cos(shot.light_angle) + y * math.sin(shot.light_angle))
    light -= shot.vignette * (x**2 + y**2) / 2
    gains = shot.exposure * gain * np.array([shot.red_gain, 1.0, shot.blue_gain], np.float32)
    picture = np.exp(-density) * (gains * light[..., None])
    hair = shot.hair_gray * np.array([1.0, 0.85, 0.75], np.float32)
    picture += (0.85 * hairs)[..., None] * (hair - picture)
    for bubble in rng.uniform((-1, -1, 0.015), (1, 1, 0.06), (shot.bubbles, 3)):
        _add_bubble(picture, *bubble)
    edge = np.clip((shot.field_radius - np.hypot(x, y)) / 0.03, 0.02, 1)
    picture *= edge[..., None]
    if corner_mark:  # both over the round field, so that a mark that is there can be seen
        _add_patch(picture)
    if shot.ruler:
        _add_ruler(picture)
    picture += shot.noise * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def draw_hairs(rng: np.random.Generator, count: int, side: int) -> UInt8[np.ndarray, "side side"]:
    """Hairs (255) across a view, most of them in about one direction."""
    layer = np.zeros((side, side), np.uint8)
    mainly = rng.uniform(0, np.pi)
    for _ in range(count):
        x, y, turn = rng.uniform(-1, 1), rng.uniform(-1, 1), mainly + rng.normal(0, 0.45)
        length, bend, width = rng.uniform(0.3, 1.3), rng.normal(0, 0.05), rng.uniform(0.005, 0.011)
        along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        knots = [
            np.array([x, y]) + along * t * length + across * bend * (1 - 4 * t * t) for t in (-0.5, -0.2, 0.2, 0.5)
        ]
        points = np.round((smooth_curve(np.stack(knots)) + 1) * side / 2 * 16).astype(np.int32)
        cv2.polylines(layer, [points], False, 255, max(1, round(width * side / 2)), cv2.LINE_AA, 4)
    return layer


def _add_bubble(picture: Float[np.ndarray, "size size 3"], x: float, y: float, radius: float) -> None:
    """A bubble of contact gel: a bright ring with a spark."""
    size = len(picture)
    low_x, low_y = (max(0, int((value - radius + 1) * size / 2) - 2) for value in (x, y))
    reach = int(radius * size) + 5
    part = picture[low_y : low_y + reach, low_x : low_x + reach]
    rows, columns = np.mgrid[low_y : low_y + part.shape[0], low_x : low_x + part.shape[1]]
    far = np.hypot((columns + 0.5) * 2 / size - 1 - x, (rows + 0.5) * 2 / size - 1 - y)
    ring = np.exp(-(((far - radius) / (0.25 * radius)) ** 2))
    spark = np.exp(-(((far - 0.4 * radius) / (0.3 * radius)) ** 2)) * (columns < (x + 1) * size / 2)
    part += (0.22 * ring + 0.12 * spark)[..., None].astype(np.float32)


def _add_ruler(picture: Float[np.ndarray, "size size 3"]) -> None:
    """An etched scale along the lower edge, beyond the furthest that a lesion reaches: a pale strip, dark ticks."""
    size = len(picture)
    strip = picture[size - max(2, round(0.04 * size)) :]
    strip += 0.35 * (0.85 - strip)
    for tick in range(19):
        column, length = round((0.05 + 0.05 * tick) * size), len(strip) // (2 if tick % 5 else 1)
        strip[-length:, column : column + max(1, size // 110)] = 0.08


def _add_patch(picture: Float[np.ndarray, "size size 3"]) -> None:
    """A round colored patch in the lower right corner."""
    size = len(picture)
    ticks = (np.arange(size) + 0.5) / size
    far = np.hypot(ticks[None, :] - 0.935, ticks[:, None] - 0.935)
    cover = np.clip((0.050 - far) * size, 0, 1)[..., None].astype(np.float32)
    picture += cover * (np.array([0.15, 0.55, 0.85], np.float32) - picture)
