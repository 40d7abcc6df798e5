"""The quality setting that a JPEG file was most probably saved with, from its quantization table."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

# The luminance table of quality 50 in reading order. Source: ITU-T T.81 (1992), table K.1.
_LUMINANCE = np.array(
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
        14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
        49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ]
)  # fmt: skip
_QUALITIES = np.arange(1, 101)


def jpeg_quality(table: Sequence[int]) -> int:
    """The libjpeg quality, 1 to 100, whose luminance table is nearest to `table` (64 numbers).

    Exact for files that libjpeg wrote; a camera's own table gets the quality that it resembles most.
    """
    return int(_QUALITIES[np.abs(_TABLES - np.sort(np.asarray(table))).sum(axis=1).argmin()])


def _scaled_tables() -> Int[np.ndarray, "100 64"]:
    """Sorted tables of every quality, as libjpeg scales them; sorted, so that zigzag order does not matter."""
    scale = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)
    return np.sort(np.clip((_LUMINANCE * scale[:, None] + 50) // 100, 1, 255), axis=1)


_TABLES = _scaled_tables()
