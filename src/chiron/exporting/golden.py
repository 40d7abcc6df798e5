"""Golden images: what an exported form must say the same of as the bundle; the same on every machine."""

import io

import numpy as np
from PIL import Image

from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.phantoms.derm import draw_phantom_derm
from chiron.scorer import Scorer, StoredImages


def golden_images(scorer: Scorer) -> StoredImages:
    """Ramps, flat fields, noise of 8 and 16 bits, phantoms and files of odd sizes, as the scorer stores them."""
    images: list[np.ndarray | bytes] = [*_arrays(), *_files()]
    return np.stack([scorer.store(image) for image in images])


def _arrays() -> list[np.ndarray]:
    random = np.random.Generator(np.random.Philox(key=7))
    ramp = np.linspace(0, 255, 96).round().astype(np.uint8)
    across = np.broadcast_to(ramp, (64, 96)).copy()
    turned = np.stack([across, across[:, ::-1], np.broadcast_to(ramp[:64, None], (64, 96))], axis=2)
    return [
        across,
        turned,
        np.zeros((32, 32), np.uint8),
        np.full((32, 48, 3), 255, np.uint8),
        np.array([[77]], np.uint8),
        random.integers(0, 256, (37, 53, 3), dtype=np.uint8),
        random.integers(0, 65536, (101, 67), dtype=np.uint16),
        *draw_phantom_cxr(num_images=3, img_size=96, seed=7).images,
        *draw_phantom_derm(num_images=3, img_size=96, seed=7).images,
    ]


def _files() -> list[bytes]:
    """A PNG, and a JPEG that says it is turned."""
    random = np.random.Generator(np.random.Philox(key=8))
    coarse = Image.fromarray(random.integers(0, 256, (9, 13, 3), dtype=np.uint8))
    picture = coarse.resize((333, 201), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG")
    picture.save(jpeg, "JPEG", quality=90, exif=exif)
    return [png.getvalue(), jpeg.getvalue()]
