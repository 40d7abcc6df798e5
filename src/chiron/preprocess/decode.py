"""`decode`: bytes to the canonical array. The first of the three steps that change pixels; works without torch.

Which decoder reads a file follows from its first bytes: `dicom` for DICOM, `picture` for all others.
"""

import numpy as np
from PIL import Image

from chiron.core.errors import PreprocessError
from chiron.preprocess.canonical import IMAGE_SUFFIXES, MAX_PIXELS, CanonicalImage, is_dicom
from chiron.preprocess.picture import decode_open, decode_picture, picture_size

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "CanonicalImage", "decode_array", "decode_image", "decode_pil", "image_size"]


def decode_image(data: bytes, name: str = "image", *, min_side: int | None = None) -> CanonicalImage:
    """The canonical array of an encoded image.

    EXIF orientation is applied, palettes become RGB, alpha is dropped, 16 bits stay 16 bits. Gray stays one channel.
    DICOM becomes what its own lookup tables and first window show, white as the largest value.

    Args:
        data: the bytes of one JPEG, PNG, BMP, TIFF, WebP, GIF or DICOM file.
        name: how to call the image in a message; a name that ends in .dcm or .dicom may lack the mark of DICOM files.
        min_side: a JPEG may be decoded smaller, with both sides at least so long (`InputSpec.decode_min_side`).
    Raises:
        PreprocessError: the bytes are empty, are not such an image, are truncated, hold several frames, or unpack to
            more than 179 million pixels.
    """
    if not data:
        raise PreprocessError(f"An image file must not be empty. Got 0 bytes in {name}. Replace or remove the file.")
    if not is_dicom(data, name):
        return decode_picture(data, name, min_side=min_side)
    from chiron.preprocess.dicom import decode_dicom  # pydicom is loaded for those who have such files

    return decode_dicom(data, name)


def image_size(data: bytes, name: str = "image") -> tuple[int, int]:
    """Width and height of an encoded image as its header says, before it is turned upright; no pixel is unpacked.

    Raises:
        PreprocessError: the bytes are no image of a kind that `decode_image` reads, or its header is broken.
    """
    if not is_dicom(data, name):
        return picture_size(data, name)
    from chiron.preprocess.dicom import dicom_size

    return dicom_size(data, name)


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
    """The canonical array of an open Pillow image; its EXIF orientation is applied, 16-bit gray stays 16 bits."""
    return decode_open(image, name)
