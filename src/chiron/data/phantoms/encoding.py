"""Phantoms as bytes: PNG or JPEG without metadata, and filler that makes a file's size say nothing of its picture."""

import math
import zlib
from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import UInt8

from chiron.data.phantoms.canvas import generator_of

JPEG_SUFFIXES = (".jpeg", ".jpg")
_SEGMENT = 65_533  # bytes that one JPEG comment can hold
_SMALLEST_FILLER = 12  # an empty PNG chunk; more than an empty JPEG comment
_LARGEST_SHARE = 0.5  # a padded file is up to so much larger than the largest


def encode(image: UInt8[np.ndarray, "..."], suffix: str) -> bytes:
    """The bytes of a gray or RGB image as 8-bit PNG or JPEG (quality 95), without any metadata."""
    pixels = image if image.ndim == 2 else image[..., ::-1]
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in JPEG_SUFFIXES else []
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def pad_all(files: Mapping[str, bytes], *names: int | str) -> dict[str, bytes]:
    """The files, each filled up to a size that is drawn by its name, independently of its picture.

    Sizes lie between that of the largest file and half as much again. `names` and the file's own name a draw.
    """
    floor = max(map(len, files.values())) + _SMALLEST_FILLER
    sizes = {name: math.ceil(floor * (1 + _LARGEST_SHARE * generator_of(*names, name).uniform())) for name in files}
    return {name: pad(data, sizes[name]) for name, data in files.items()}


def pad(data: bytes, size: int) -> bytes:
    """The PNG or JPEG `data` with zeros that every decoder skips, `size` bytes in all.

    The zeros stand in a private ancillary chunk before the end of a PNG, or in comment segments after the header of a
    JPEG. Source: ISO/IEC 15948, 5.4 (chunk names); ITU-T T.81, B.2.4.5 (comments).
    """
    missing = size - len(data)
    assert missing >= _SMALLEST_FILLER, f"no room for filler: {len(data)} bytes to {size}"
    if data.startswith(b"\x89PNG"):
        chunk = b"paDd" + bytes(missing - 12)  # ancillary, private, safe to copy
        filler = (missing - 12).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        return data[:-12] + filler + data[-12:]  # before IEND
    filler = b""
    while missing:
        length = min(missing, _SEGMENT + 4)
        if 0 < missing - length < 4:  # what is left must hold a whole segment
            length -= 4
        filler += b"\xff\xfe" + (length - 2).to_bytes(2) + bytes(length - 4)
        missing -= length
    start = 4 + int.from_bytes(data[4:6])  # after the JFIF header, which must come first
    return data[:start] + filler + data[start:]
