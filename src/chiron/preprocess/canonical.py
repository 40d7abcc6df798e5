"""The canonical array, which every decoder gives back, and what all decoders share: names, limits, orientation.

Canonical array: (height, width, channels), uint8 or uint16 over the full range, 1 channel (gray) or 3 (RGB), upright.
"""

from pathlib import PurePosixPath

import numpy as np
from jaxtyping import UInt

from chiron.core.errors import PreprocessError

MAX_PIXELS = 178_956_970  # Pillow's own limit; a larger picture is refused as a decompression bomb
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}) | DICOM_SUFFIXES

MAGIC_BYTES = 132  # so many bytes tell whether a file is DICOM: PS3.10, 7.1
CanonicalImage = UInt[np.ndarray, "_height _width _channels"]  # "_": functions may change the axis


def is_dicom(data: bytes, name: str = "") -> bool:
    """Whether bytes are a DICOM file: by its mark, or by its name where an old file has none."""
    return data[128:MAGIC_BYTES] == b"DICM" or PurePosixPath(name).suffix.lower() in DICOM_SUFFIXES


def require_pixels(width: int, height: int, name: str) -> None:
    """Stops at a picture that would fill the memory; called before anything is unpacked.

    Raises:
        PreprocessError: it has more than MAX_PIXELS pixels.
    """
    if width * height > MAX_PIXELS:
        raise PreprocessError(
            f"An image must have at most {MAX_PIXELS:,} pixels. Got more in {name}: {width:,} x {height:,}. "
            "Scale it down first."
        )


def require_one_frame(num_frames: int, name: str) -> None:
    """Stops at a file of several frames: which one was meant, only a person can say.

    Raises:
        PreprocessError: there is more than one.
    """
    if num_frames > 1:
        raise PreprocessError(
            f"An image file must hold one frame. Got {num_frames} in {name}. Save the wanted frame as its own file."
        )


def incomplete(reason: str, name: str) -> PreprocessError:
    """The error for content that a decoder cannot read to its end."""
    return PreprocessError(f"An image must decode completely. Got {reason} in {name}. Replace or remove the file.")


def upright(pixels: CanonicalImage, orientation: int) -> CanonicalImage:
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
