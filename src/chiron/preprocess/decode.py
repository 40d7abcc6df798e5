"""`decode`: bytes to the canonical array. The first of the three steps that change pixels; works without torch.

Canonical array: (height, width, channels), uint8 or uint16 over the full range, 1 channel (grey) or 3 (RGB), upright.
"""

import io

import cv2
import numpy as np
from jaxtyping import UInt
from PIL import Image, ImageOps, UnidentifiedImageError

from chiron.core.errors import PreprocessError

MAX_PIXELS = 178_956_970  # Pillow's own limit; a larger picture is refused as a decompression bomb
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_GREY_MODES = frozenset({"1", "L", "LA", "La"})
_DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})

CanonicalImage = UInt[np.ndarray, "_height _width _channels"]  # "_": functions may change the axis


def decode_image(data: bytes, name: str = "image") -> CanonicalImage:
    """The canonical array of an encoded image.

    EXIF orientation is applied, palettes become RGB, alpha is dropped, 16 bits stay 16 bits. Grey stays one channel.

    Args:
        data: the bytes of one JPEG, PNG, BMP, TIFF or WebP file.
        name: how to call the image in a message.
    Raises:
        PreprocessError: the bytes are empty, are not such an image, are truncated, hold several frames, or unpack to
            more than 179 million pixels.
    """
    if not data:
        raise PreprocessError(f"An image file must not be empty. Got 0 bytes in {name}. Replace or remove the file.")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _canonical(image, data, name)
    except PreprocessError:
        raise
    except Image.DecompressionBombError as error:
        raise PreprocessError(
            f"An image must have at most {MAX_PIXELS:,} pixels. Got more in {name}. Scale it down first."
        ) from error
    except UnidentifiedImageError as error:
        raise PreprocessError(
            f"A file must be a JPEG, PNG, BMP, TIFF or WebP image. Got other content in {name}. "
            "Replace or remove the file."
        ) from error
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error and more
        raise PreprocessError(
            f"An image must decode completely. Got {str(error) or type(error).__name__} in {name}. "
            "Replace or remove the file."
        ) from error


def _canonical(image: Image.Image, data: bytes, name: str) -> CanonicalImage:
    num_frames = getattr(image, "n_frames", 1)
    if num_frames > 1 and image.format != "MPO":  # phones append a depth map as a second frame
        raise PreprocessError(
            f"An image file must hold one frame. Got {num_frames} in {name}. Save the wanted frame as its own file."
        )
    orientation = image.getexif().get(0x0112, 1)
    if data and image.format == "PNG" and _png_is_deep_colour(data):
        # Pillow reads 16-bit colour PNGs as 8 bits; OpenCV keeps them. BGR(A) to RGB.
        deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if deep is None:
            raise PreprocessError(f"An image must decode completely. Got broken data in {name}. Replace the file.")
        return _upright(np.ascontiguousarray(deep[..., 2::-1]), orientation)
    if image.mode in _DEEP_MODES:
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise PreprocessError(
                f"Pixel values must lie in 0..65535. Got {pixels.min()}..{pixels.max()} in {name}. Save it as 16-bit."
            )
        return _upright(pixels.astype(np.uint16)[..., None], orientation)
    if image.mode == "F":
        raise PreprocessError(
            f"Pixels must be 8- or 16-bit integers. Got floating point in {name}. Save it as 8- or 16-bit."
        )
    image = ImageOps.exif_transpose(image)
    if image.mode in _GREY_MODES:
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _png_is_deep_colour(data: bytes) -> bool:
    """Whether the PNG header says 16 bits a channel and colour (types 2 RGB and 6 RGBA)."""
    return data[24] == 16 and data[25] in (2, 6)


def _upright(pixels: CanonicalImage, orientation: int) -> CanonicalImage:
    """Applies an EXIF orientation (1..8) to an array, as Pillow's `exif_transpose` does to an image."""
    turned = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[::-1],
    }
    return np.ascontiguousarray(turned[orientation](pixels)) if orientation in turned else pixels


def decode_array(array: np.ndarray, name: str = "array") -> CanonicalImage:
    """The canonical array of pixels that are already decoded.

    Args:
        array: (height, width), (height, width, 1 | 3 | 4), uint8 or uint16 over the full range; RGB order.
    Raises:
        PreprocessError: another shape or type, for example floats, whose range nobody can know.
    """
    if array.dtype not in (np.uint8, np.uint16):
        raise PreprocessError(
            f"An image array must be uint8 or uint16 over the full range. Got {array.dtype} in {name}. "
            "Scale and convert it first."
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise PreprocessError(
            f"An image array must have shape (height, width) or (height, width, 1 | 3 | 4). "
            f"Got {array.shape} in {name}."
        )
    return np.ascontiguousarray(array[..., :3] if array.shape[2] == 4 else array)


def decode_pil(image: Image.Image, name: str = "image") -> CanonicalImage:
    """The canonical array of an open Pillow image; its EXIF orientation is applied, 16-bit grey stays 16 bits."""
    return _canonical(image, b"", name)
