"""The look of a picture in 63 bits: equal, or nearly so, for copies that were re-encoded, resized or brightened.

It says less than a thumbnail of 8 × 8 pixels and cannot be turned back into one. Pictures of different scenes can have
near looks, so a near look alone makes a suspect, never a copy.
"""

import numpy as np
import scipy.fft
from jaxtyping import Int, Shaped, UInt8

NEAR = 2  # bits by which copies may differ
_FLATTEST = 1.0  # gray levels of standard deviation; below, a thumbnail shows rounding and nothing else
_SIDE = 8
_GRAY = np.array([0.299, 0.587, 0.114], np.float64)


def look_hash(thumbnail: UInt8[np.ndarray, "16 16 3"]) -> str | None:
    """The signs of the slowest 63 waves of the gray picture, as 16 hexadecimal digits; None of a blank one.

    Signs, not sizes: brightness and contrast leave no trace.
    Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", the DCT hash, here about
    zero in place of the median.
    """
    gray = thumbnail @ _GRAY
    if gray.std() < _FLATTEST:
        return None
    waves = scipy.fft.dctn(gray, norm="ortho")[:_SIDE, :_SIDE]
    bits = np.packbits((waves > 0).reshape(-1)[1:], bitorder="big")  # the mean of all pixels says nothing
    return bits.tobytes().hex()


def near_looks(
    looks: Shaped[np.ndarray, "n"], others: Shaped[np.ndarray, "_m"], *, block: int = 512
) -> Int[np.ndarray, "n"]:
    """The place in `others` of the nearest look of each, -1 where none is within `NEAR` bits.

    Args:
        looks: hashes as `look_hash` writes them.
        others: the same.
        block: looks compared at a time; bounds memory.
    """
    nearest = np.full(len(looks), -1, np.int64)
    if not len(others):
        return nearest
    theirs = _as_numbers(others)
    for start in range(0, len(looks), block):
        apart = np.bitwise_count(_as_numbers(looks[start : start + block])[:, None] ^ theirs)
        best = apart.argmin(axis=1)
        found = apart[np.arange(len(best)), best] <= NEAR
        nearest[start : start + block] = np.where(found, best, -1)
    return nearest


def _as_numbers(looks: Shaped[np.ndarray, "_n"]) -> Shaped[np.ndarray, "_n"]:
    return np.array([int(look, 16) for look in looks.tolist()], dtype=np.uint64)
