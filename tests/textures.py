"""Pictures with structure at several scales, no two alike, and ways to copy them."""

import io

import cv2
import numpy as np
from PIL import Image


def texture(seed: int, *, height: int = 120, width: int = 160, channels: int = 3, weight: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    layers = []
    for cells, spread in ((4, 60), (12, 25), (40, 15)):
        noise = random.normal(0, weight * spread, (cells, cells * 4 // 3, channels)).astype(np.float32)
        layers.append(
            cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
        )
    return (128 + sum(layers)).clip(0, 255).astype(np.uint8)


def through_jpeg(image: np.ndarray, quality: int = 60) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def cropped(image: np.ndarray, top: float, left: float, share: float = 0.9) -> np.ndarray:
    height, width = (round(side * share) for side in image.shape[:2])
    y, x = round(top * (image.shape[0] - height)), round(left * (image.shape[1] - width))
    return image[y : y + height, x : x + width]


def halved(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)


def brightened(image: np.ndarray, factor: float) -> np.ndarray:
    return (image * factor).clip(0, 255).astype(np.uint8)
