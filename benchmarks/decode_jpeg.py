"""What the fast JPEG decoder gains over Pillow alone, from bytes to a NumPy array.

    python benchmarks/decode_jpeg.py FOLDER_OF_JPEGS

Prints, for each size and number of threads, the median and the spread of the ratio of times over alternating repeats.
Times of two threads show whether the decoders let go of the interpreter. Pixels are compared first.
"""

import io
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from chiron.core.process import prepare_process
from chiron.preprocess import picture
from chiron.preprocess.decode import decode_image
from chiron.preprocess.jpeg import fast_jpeg

REPEATS, MOST_FILES = 15, 40
SIDES = (None, 600, 2000)  # pixels of the longer side; None leaves the files as they are


def resized(data: bytes, side: int | None) -> bytes:
    """The same picture at another size."""
    if side is None:
        return data
    image = Image.open(io.BytesIO(data))
    ratio = side / max(image.size)
    stream = io.BytesIO()
    image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BICUBIC).save(
        stream, "JPEG", quality=92
    )
    return stream.getvalue()


def decode_all(files: list[bytes], threads: int, fast: Callable[..., np.ndarray | None]) -> float:
    """Seconds for all files."""
    picture.fast_jpeg = fast
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode_image, files))
    return time.perf_counter() - started


def by_pillow(*_: object) -> None:
    """Leaves the pixels to Pillow."""


if __name__ == "__main__":
    prepare_process()
    torch.set_num_threads(1)
    given = [path.read_bytes() for path in sorted(Path(sys.argv[1]).rglob("*.jp*g"))[:MOST_FILES]]
    for side in SIDES:
        files = [resized(data, side) for data in given[: MOST_FILES if side is None or side < 1000 else 6]]
        for data in files:
            fast = decode_image(data)
            picture.fast_jpeg = by_pillow
            assert np.array_equal(fast, decode_image(data))
            picture.fast_jpeg = fast_jpeg
        for threads in (1, 2):
            ratios, times = [], []
            for _ in range(REPEATS):
                pillow, quick = decode_all(files, threads, by_pillow), decode_all(files, threads, fast_jpeg)
                ratios.append(pillow / quick)
                times.append(1000 * quick / len(files))
            ratios.sort()
            low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
            print(
                f"{side or 'as given'} px, {threads} thread(s): {statistics.median(ratios):.2f} x Pillow "
                f"(80 % of repeats {low:.2f}-{high:.2f}); {statistics.median(times):.2f} ms an image"
            )
