"""`canonical resize`: the second of the three steps that change pixels; antialiased, without torch.

What comes out is what a cache may store: (stored_size, stored_size, in_chans), uint8 or uint16 as the InputSpec says.
"""

import numpy as np
from jaxtyping import UInt
from PIL import Image

from chiron.preprocess.decode import CanonicalImage
from chiron.spec.input_spec import InputSpec

StoredImage = UInt[np.ndarray, "_size _size _channels"]
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def canonical_resize(image: CanonicalImage, spec: InputSpec) -> StoredImage:
    """The stored form of a decoded image: channels, depth and size as `spec` says.

    Gray becomes RGB by repetition; RGB becomes gray by ITU-R 601 luma, as Pillow's mode "L" does. 8 bits become 16 by
    times 257, 16 become 8 by rounding value / 257, so that black and white stay black and white.
    """
    image = _with_channels(image, spec.in_chans)
    image = _resized(image, spec)
    return _with_depth(image, spec.bit_depth)


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
    height, width = image.shape[:2]
    side = spec.stored_size
    if spec.resize == "squash":
        return _scaled(image, side, side, spec.interpolation)
    ratio = side / max(height, width)
    inner_h, inner_w = max(1, round(height * ratio)), max(1, round(width * ratio))
    boxed = np.zeros((side, side, image.shape[2]), image.dtype)
    top, left = (side - inner_h) // 2, (side - inner_w) // 2
    boxed[top : top + inner_h, left : left + inner_w] = _scaled(image, inner_h, inner_w, spec.interpolation)
    return boxed


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
