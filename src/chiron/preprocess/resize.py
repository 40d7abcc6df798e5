"""`canonical resize`: the second of the three steps that change pixels; antialiased, without torch.

What comes out is what a cache may store: (stored_size, stored_size, stored_chans), uint8 or uint16 as the InputSpec
says. Where it asks for a mask, that is the last channel, 0 or the largest value; all later steps move both together.
"""

import cv2
import numpy as np
from jaxtyping import UInt
from PIL import Image

from chiron.preprocess.decode import CanonicalImage
from chiron.preprocess.lung_mask import lung_mask
from chiron.spec.input_spec import InputSpec

StoredImage = UInt[np.ndarray, "_size _size _channels"]
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def canonical_resize(image: CanonicalImage, spec: InputSpec) -> StoredImage:
    """The stored form of a decoded image: channels, depth and size as `spec` says, the mask behind the picture.

    Gray becomes RGB by repetition; RGB becomes gray by ITU-R 601 luma, as Pillow's mode "L" does. 8 bits become 16 by
    times 257, 16 become 8 by rounding value / 257, so that black and white stay black and white.
    """
    stored = _with_depth(_resized(_with_channels(image, spec.in_chans), spec), spec.bit_depth)
    return stored if spec.mask == "none" else np.concatenate([stored, _stored_mask(image, spec)], axis=2)


def _stored_mask(image: CanonicalImage, spec: InputSpec) -> StoredImage:
    """The lung fields of the decoded image, placed as the picture is; nearest pixel, so that they stay 0 or 1."""
    rows, columns = _place(image.shape[0], image.shape[1], spec)
    inner = (columns.stop - columns.start, rows.stop - rows.start)
    boxed = np.zeros((spec.stored_size, spec.stored_size, 1), np.uint8 if spec.bit_depth == 8 else np.uint16)
    found = cv2.resize(lung_mask(image).mask, inner, interpolation=cv2.INTER_NEAREST_EXACT)
    boxed[rows, columns, 0] = found.astype(boxed.dtype) * spec.max_value
    return boxed


def _with_channels(image: CanonicalImage, in_chans: int) -> CanonicalImage:
    if image.shape[2] == in_chans:
        return image
    if in_chans == 3:
        return np.repeat(image, 3, axis=2)
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image, "RGB").convert("L"))[..., None]
    luma = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return np.rint(luma).astype(np.uint16)[..., None]


def _resized(image: CanonicalImage, spec: InputSpec) -> CanonicalImage:
    rows, columns = _place(image.shape[0], image.shape[1], spec)
    inner = _scaled(image, rows.stop - rows.start, columns.stop - columns.start, spec.interpolation)
    if spec.resize == "squash":
        return inner
    boxed = np.zeros((spec.stored_size, spec.stored_size, image.shape[2]), image.dtype)
    boxed[rows, columns] = inner
    return boxed


def _place(height: int, width: int, spec: InputSpec) -> tuple[slice, slice]:
    """Rows and columns that an image of this size takes in the stored square."""
    side = spec.stored_size
    if spec.resize == "squash":
        return slice(0, side), slice(0, side)
    ratio = side / max(height, width)
    inner_h, inner_w = max(1, round(height * ratio)), max(1, round(width * ratio))
    top, left = (side - inner_h) // 2, (side - inner_w) // 2
    return slice(top, top + inner_h), slice(left, left + inner_w)


def _scaled(image: CanonicalImage, height: int, width: int, interpolation: str) -> CanonicalImage:
    """Pillow's antialiased resize, channel by channel in 32-bit float where the image is deeper than 8 bits."""
    if image.shape[:2] == (height, width):
        return image
    resample = _FILTERS[interpolation]
    if image.dtype == np.uint8:
        pixels = image[..., 0] if image.shape[2] == 1 else image
        return np.asarray(Image.fromarray(pixels).resize((width, height), resample)).reshape(height, width, -1)
    channels = [
        np.asarray(Image.fromarray(image[..., c].astype(np.float32)).resize((width, height), resample))
        for c in range(image.shape[2])
    ]
    return np.rint(np.stack(channels, axis=-1)).clip(0, 65535).astype(np.uint16)


def _with_depth(image: CanonicalImage, bit_depth: int) -> CanonicalImage:
    if image.dtype == np.uint8:
        return image if bit_depth == 8 else image.astype(np.uint16) * 257
    # (v + 128) // 257 is value / 257 rounded, in whole numbers
    return image if bit_depth == 16 else ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
