"""JPEG, PNG, BMP, TIFF, WebP and GIF: Pillow reads them, with help where it would lose bits or time.

Pillow's verdict counts: what it refuses is refused, whichever decoder would have made the pixels.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from chiron.core.errors import PreprocessError
from chiron.preprocess.canonical import (
    MAX_PIXELS,
    CanonicalImage,
    incomplete,
    require_one_frame,
    require_pixels,
    upright,
)
from chiron.preprocess.jpeg import fast_jpeg

# Pillow knows more formats, some through other programs (EPS starts Ghostscript); these are all that is read.
PICTURE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
_JPEGS = ("JPEG", "MPO")  # MPO: phones append a preview or a depth map as a second frame
_GRAY_MODES = frozenset({"1", "L", "LA", "La"})
_DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # TIFF 6.0
_MIN_IS_WHITE, _SEPARATE_PLANES = 0, 2


def decode_picture(data: bytes, name: str, *, min_side: int | None = None) -> CanonicalImage:
    """The canonical array of an encoded picture; see `decode_image`."""
    with _opened(data, name) as image:
        return _decode(image, data, name, min_side)


def picture_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height as the header of a picture says, before it is turned upright; see `image_size`."""
    with _opened(data, name) as image:
        return image.size


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """A picture whose header is read; whatever Pillow says against it becomes one sentence."""
    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            yield image
    except PreprocessError:
        raise
    except Image.DecompressionBombError as error:
        raise PreprocessError(
            f"An image must have at most {MAX_PIXELS:,} pixels. Got more in {name}. Scale it down first."
        ) from error
    except UnidentifiedImageError as error:
        raise PreprocessError(
            f"A file must be a JPEG, PNG, BMP, TIFF, WebP, GIF or DICOM image. Got other content in {name}. "
            "Replace or remove the file."
        ) from error
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and more
        raise incomplete(str(error) or type(error).__name__, name) from error


def decode_open(image: Image.Image, name: str) -> CanonicalImage:
    """The canonical array of an open Pillow image, by Pillow alone."""
    if image.format not in _JPEGS:
        require_one_frame(getattr(image, "n_frames", 1), name)
    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.mode in _DEEP_MODES:
        return upright(_deep_gray(image, name), orientation)
    if image.mode == "F":
        raise PreprocessError(
            f"Pixels must be 8- or 16-bit integers. Got floating point in {name}. Save it as 8- or 16-bit."
        )
    image = ImageOps.exif_transpose(image)
    if image.mode in _GRAY_MODES:
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _decode(image: Image.Image, data: bytes, name: str, min_side: int | None) -> CanonicalImage:
    require_pixels(*image.size, name)
    if image.format in _JPEGS:
        full_size = image.size
        if min_side is not None and image.mode in ("L", "RGB"):
            image.draft(image.mode, (min_side, min_side))  # libjpeg leaves out what a smaller picture does not need
        pixels = fast_jpeg(data, image.size, image.mode) if image.size == full_size else None
        if pixels is not None:
            return upright(pixels, image.getexif().get(_ORIENTATION, 1))
    elif _is_deep_color(image, data, name):
        return upright(_deep_color(image, data, name), image.getexif().get(_ORIENTATION, 1))
    return decode_open(image, name)


def _deep_gray(image: Image.Image, name: str) -> CanonicalImage:
    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise PreprocessError(
            f"Pixel values must lie in 0..65535. Got {pixels.min()}..{pixels.max()} in {name}. Save it as 16-bit."
        )
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _MIN_IS_WHITE:  # type: ignore[attr-defined]
        pixels = 65535 - pixels  # Pillow inverts 8 bits itself, and 16 bits not
    return pixels.astype(np.uint16)[..., None]


def _is_deep_color(image: Image.Image, data: bytes, name: str) -> bool:
    """Whether a PNG or TIFF has 16 bits in each of several channels, which Pillow reads as 8.

    Raises:
        PreprocessError: a TIFF of such depth that nothing here reads.
    """
    if image.format == "PNG":
        return data[24] == 16 and data[25] in (2, 4, 6)  # the header: color, gray + alpha, color + alpha
    if image.format != "TIFF":
        return False
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))  # type: ignore[attr-defined]
    if len(bits) == 1 or max(bits) <= 8:
        return False
    if set(bits) != {16} or image.tag_v2.get(_PLANAR) == _SEPARATE_PLANES:  # type: ignore[attr-defined]
        raise PreprocessError(
            f"Color in a TIFF must have 8 bits a channel, or 16 bits in one plane. Got {max(bits)} bits in "
            f"{'separate planes' if set(bits) == {16} else 'unequal or odd channels'} in {name}. Save it as PNG."
        )
    return True


def _deep_color(image: Image.Image, data: bytes, name: str) -> CanonicalImage:
    """The pixels by OpenCV, which keeps 16 bits; Pillow decodes too, because OpenCV passes over missing data."""
    require_one_frame(getattr(image, "n_frames", 1), name)
    image.load()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[:2] != image.size[::-1]:
        raise incomplete("broken data", name)
    if pixels.ndim == 2 or (image.format == "PNG" and data[25] == 4):  # gray + alpha comes as four channels
        return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1)[..., :1])
    return np.ascontiguousarray(pixels[..., 2::-1])  # BGR(A) to RGB
