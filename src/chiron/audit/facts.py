"""Facts: one pass over all images that measures what is cheap: the file's form, brightness, sharpness, small pictures.

Nothing here comes from a network, and no EXIF field but the orientation is looked at. Pixels are measured on the
canonical image, brought to 8 bits; small pictures are 64 x 64 whatever the aspect ratio.
"""

import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import polars as pl
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

from chiron.audit.jpeg_quality import jpeg_quality
from chiron.core.errors import DataError, PreprocessError
from chiron.data.source import ImageSource
from chiron.preprocess.decode import CanonicalImage
from chiron.preprocess.picture import PICTURE_FORMATS

SMALL_SIDE = 64
BORDER_PX, CORNER_PX = 2, 8  # of the small picture: 3 % and 12.5 % of the side
_SHARPNESS_SIDE = 256
_BLACK, _WHITE = 4, 251  # gray levels, of 255
_CELLS, _TURNS = 8, 8  # gradients: cells a side, directions
_COLOR_MODES = {
    "1": "black and white", "L": "gray", "LA": "gray with alpha", "I;16": "gray", "I;16B": "gray", "I": "gray",
    "P": "palette", "PA": "palette", "RGB": "RGB", "RGBA": "RGB with alpha", "CMYK": "CMYK", "YCbCr": "YCbCr",
}  # fmt: skip
_SCALARS: dict[str, Any] = {
    "file_bytes": pl.Int64,
    "file_format": pl.String,
    "color_mode": pl.String,
    "jpeg_quality": pl.Int64,
    "width": pl.Int64,
    "height": pl.Int64,
    "bit_depth": pl.Int64,
    "mean": pl.Float64,
    "std": pl.Float64,
    "black_share": pl.Float64,
    "white_share": pl.Float64,
    "chroma": pl.Float64,
    "sharpness": pl.Float64,
}
_PICTURES = {
    "thumbnail": 8 * 8 * 3,
    "histogram": 3 * 16,
    "border": 5 * 6,
    "corners": 5 * 6,
    "gradients": _CELLS * _CELLS * _TURNS,
    "channel_mean": 3,
    "channel_square": 3,
}

Gray = UInt8[np.ndarray, "_height _width"]
Small = UInt8[np.ndarray, "64 64 3"]


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """What was measured, in the order of the manifest's rows; NaN and null where an image cannot be read.

    Columns of `frame`: sample_id; file_bytes, file_format, color_mode and, of a JPEG, jpeg_quality (an npz has no
    files: only color_mode is known there); width, height, bit_depth; of the gray picture in 0..1 mean, std,
    black_share, white_share, chroma (mean distance of the largest from the smallest channel) and sharpness (variance of
    the Laplacian at 256 px on the longer side).

    The arrays hold, a row an image: an 8 x 8 color thumbnail, a histogram of each channel, statistics of the border
    (3 % of the side) and of the corners (12.5 %), directions of gradients in 8 x 8 cells, and the mean and mean square
    of each channel.
    """

    frame: pl.DataFrame
    thumbnail: Float[np.ndarray, "n 192"]
    histogram: Float[np.ndarray, "n 48"]
    border: Float[np.ndarray, "n 30"]
    corners: Float[np.ndarray, "n 30"]
    gradients: Float[np.ndarray, "n 512"]
    channel_mean: Float[np.ndarray, "n 3"]
    channel_square: Float[np.ndarray, "n 3"]
    num_seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """The cost of the pass."""
        return self.frame.height / self.num_seconds if self.num_seconds else float("nan")

    def rows(self, index: Sequence[int] | np.ndarray) -> "ImageFacts":
        """The facts of some rows, in the order of `index`."""
        arrays = {name: getattr(self, name)[np.asarray(index, dtype=np.int64)] for name in _PICTURES}
        return ImageFacts(frame=self.frame[list(index)], num_seconds=self.num_seconds, **arrays)


def measure_images(source: ImageSource, frame: pl.DataFrame) -> ImageFacts:
    """The facts of every row of a manifest's table, with threads; an image that cannot be read has none.

    Args:
        frame: has sample_id and path.
    """
    started = time.perf_counter()
    # Threads, not processes: Pillow, OpenCV and most of numpy let go of the interpreter while they work.
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda path: _measure(source, path), frame["path"]))
    columns = {name: [scalars.get(name) for scalars, _ in found] for name in _SCALARS}
    arrays = {name: np.full((len(found), width), np.nan, np.float32) for name, width in _PICTURES.items()}
    for row, (_, pictures) in enumerate(found):
        for name, values in pictures.items():
            arrays[name][row] = values
    measured = pl.DataFrame(columns, schema=_SCALARS)
    return ImageFacts(
        frame=pl.concat([frame.select("sample_id"), measured], how="horizontal"),
        num_seconds=time.perf_counter() - started,
        **arrays,
    )


def _measure(source: ImageSource, path: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scalars and small arrays of one image; what could be found out of one that is broken."""
    scalars: dict[str, Any] = {}
    try:
        data = source.file_bytes(path)
        if data is not None:
            scalars |= file_facts(data)
        image = source.decode(path, data=data)
    except (DataError, PreprocessError):
        return scalars, {}
    more, pictures = pixel_facts(image)
    scalars.setdefault("color_mode", "gray" if image.shape[2] == 1 else "RGB")
    if scalars["color_mode"] == "black and white":
        more["bit_depth"] = 1
    return scalars | more, pictures


def file_facts(data: bytes) -> dict[str, Any]:
    """What the file itself says, without its pixels: file_bytes, file_format, color_mode, jpeg_quality."""
    facts: dict[str, Any] = {"file_bytes": len(data)}
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            facts |= {"file_format": image.format, "color_mode": _COLOR_MODES.get(image.mode, image.mode)}
            tables = getattr(image, "quantization", None)
            if image.format in ("JPEG", "MPO") and tables:
                facts["jpeg_quality"] = jpeg_quality(tables[min(tables)])
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        pass  # not one of the formats that are read by Pillow, or broken: decoding says whether it can be read
    return facts


def pixel_facts(image: CanonicalImage) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scalars and small arrays of a canonical image: what `ImageFacts` holds of its pixels."""
    height, width = image.shape[:2]
    pixels = image if image.dtype == np.uint8 else np.rint(image / 257).astype(np.uint8)
    gray = pixels[..., 0] if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = _resized(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels, SMALL_SIDE, SMALL_SIDE)
    levels = np.bincount(gray.ravel(), minlength=256) / gray.size
    mean = float(levels @ np.arange(256))
    scalars = {
        "width": width,
        "height": height,
        "bit_depth": 8 * image.dtype.itemsize,
        "mean": mean / 255,
        "std": float(np.sqrt(levels @ (np.arange(256) - mean) ** 2)) / 255,
        "black_share": float(levels[: _BLACK + 1].sum()),
        "white_share": float(levels[_WHITE:].sum()),
        "chroma": float((small.max(axis=2) - small.min(axis=2)).mean()) / 255,
        "sharpness": sharpness(gray),
    }
    channels = small.reshape(-1, 3) / np.float32(255)
    pictures = {
        "thumbnail": _resized(small, 8, 8).ravel() / np.float32(255),
        "histogram": _histogram(small),
        "border": border_facts(small),
        "corners": corner_facts(small),
        "gradients": gradient_facts(small),
        "channel_mean": channels.mean(axis=0),
        "channel_square": (channels**2).mean(axis=0),
    }
    return scalars, pictures


def sharpness(gray: Gray) -> float:
    """Variance of the Laplacian of gray values in 0..1 at 256 px on the longer side (higher is sharper).

    The fixed scale makes images of several sizes comparable: one that is enlarged to it counts as blurred.

    Source: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548.
    """
    height, width = gray.shape
    ratio = _SHARPNESS_SIDE / max(height, width)
    # In floating point: rounding to whole gray levels would look like detail in a smooth picture.
    scaled = _resized(gray.astype(np.float32) / 255, max(3, round(height * ratio)), max(3, round(width * ratio)))
    return float(cv2.Laplacian(scaled, cv2.CV_32F).var())


def border_facts(small: Small) -> Float[np.ndarray, "30"]:
    """Six numbers of the four sides of the frame, see `_levels_and_differences`; the last is roughness along a side."""
    strips = [small[:BORDER_PX], small[-BORDER_PX:], small[:, :BORDER_PX], small[:, -BORDER_PX:]]
    along = [strip if strip.shape[1] == SMALL_SIDE else strip.transpose(1, 0, 2) for strip in strips]
    return _levels_and_differences(
        [[*_color_and_range(strip), float(np.abs(np.diff(_gray(strip), axis=1)).mean())] for strip in along]
    )


def corner_facts(small: Small) -> Float[np.ndarray, "30"]:
    """Six numbers of the four corners, see `_levels_and_differences`; the last is the deviation of gray."""
    ends = (slice(None, CORNER_PX), slice(-CORNER_PX, None))
    corners = [np.ascontiguousarray(small[rows, columns]) for rows in ends for columns in ends]
    return _levels_and_differences([[*_color_and_range(corner), float(_gray(corner).std())] for corner in corners])


def _levels_and_differences(numbers: list[list[float]]) -> Float[np.ndarray, "30"]:
    """The median over four places of each number, then how far each place is from it.

    The medians tell skin and exposure; the differences tell what stands in one place alone, as a mark does.
    """
    table = np.array(numbers, dtype=np.float32)
    level = np.median(table, axis=0)
    return np.concatenate([level, (table - level).ravel()])


def _color_and_range(part: UInt8[np.ndarray, "_h _w 3"]) -> tuple[float, ...]:
    """Mean red, green and blue, darkest and brightest gray, in 0..1."""
    gray = _gray(part)
    return (*(part.reshape(-1, 3).mean(axis=0) / 255), float(gray.min()), float(gray.max()))


def _gray(part: UInt8[np.ndarray, "_h _w 3"]) -> Float[np.ndarray, "_h _w"]:
    return cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def gradient_facts(small: Small) -> Float[np.ndarray, "512"]:
    """How strongly gray values change in 8 directions in each of 8 x 8 cells, scaled to length 1.

    Source: histograms of oriented gradients, Dalal and Triggs 2005, doi:10.1109/CVPR.2005.177, without blocks.
    """
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strength, angle = cv2.cartToPolar(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    turn = np.floor(angle / np.pi * _TURNS).astype(np.int64) % _TURNS  # light on dark and dark on light are one
    cell = np.arange(SMALL_SIDE) // (SMALL_SIDE // _CELLS)
    place = (cell[:, None] * _CELLS + cell[None, :]) * _TURNS + turn
    sums = np.bincount(place.ravel(), weights=strength.ravel(), minlength=_CELLS * _CELLS * _TURNS)
    return (np.sqrt(sums / max(sums.sum(), 1e-6))).astype(np.float32)


def _histogram(small: Small) -> Float[np.ndarray, "48"]:
    """Share of pixels in 16 bins a channel."""
    counts = [np.bincount(small[..., channel].ravel() // 16, minlength=16) for channel in range(3)]
    return np.concatenate(counts).astype(np.float32) / small[..., 0].size


def _resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area averages where the picture gets smaller, linear between pixels where it grows."""
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
