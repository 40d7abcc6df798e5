"""JPEG pixels by torchvision's decoder, where torch is loaded: bit-equal to Pillow's, without its copies of the array.

Where torch is not loaded, or the decoder refuses, Pillow makes the pixels. Nobody can tell from them which of the two
it was: `tests/unit/preprocess/test_jpeg.py` holds both equal on whole and on damaged files. torch is not loaded for
this alone: verbs that need none start in less time than they would save.
"""

import sys
from contextlib import suppress

import numpy as np
from jaxtyping import UInt

_CHANNELS = {"L": 1, "RGB": 3}


def fast_jpeg(data: bytes, size: tuple[int, int], mode: str) -> UInt[np.ndarray, "_height _width _channels"] | None:
    """The pixels of a JPEG, or None where Pillow has to decode.

    Args:
        size: width and height, as Pillow reads them from the header.
        mode: Pillow's mode of the image; CMYK is left to Pillow.
    """
    if mode not in _CHANNELS or "torch" not in sys.modules:
        return None
    import torch

    with suppress(ImportError, RuntimeError):  # no torchvision; a JPEG that its decoder does not take
        from torchvision.io import ImageReadMode, decode_jpeg

        # The copy is needed: torch has no tensors that must not be written to.
        pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.UNCHANGED)
        if tuple(pixels.shape) == (_CHANNELS[mode], size[1], size[0]):
            return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    return None
