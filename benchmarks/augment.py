"""How long the fused augmentation of one image takes, beside torchvision's transforms v2 doing the same step by step.

    python benchmarks/augment.py [--img-size 224]

Both get the same stored image and draw crop, mirror, rotation and color as `convnextv2_ssa` does, in one process on one
thread; with and without hue. Then, how far one interpolation lies from three: crop, mirror, rotation and shift made
at once and one by one, in gray levels away from the border.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from chiron.data.augment.apply import augment
from chiron.data.augment.batch import augment_batch
from chiron.data.augment.draw import Draw, draw_augmentation
from chiron.data.augment.warp import warp_of
from chiron.data.dataset import to_tensor
from chiron.spec.augment import AugmentRecipe
from chiron.spec.input_spec import InputSpec

REPEATS, IMAGES = 9, 40
BILINEAR = v2.InterpolationMode.BILINEAR


def picture(side: int) -> np.ndarray:
    """A smooth colored image over the full range."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)


def torchvision_steps(recipe: AugmentRecipe, img_size: int) -> v2.Compose:
    """The recipe's crop, mirror, jitter and rotation as a user of torchvision writes them."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(img_size, scale=recipe.crop_scale, interpolation=BILINEAR, antialias=True),
            v2.RandomHorizontalFlip(recipe.hflip),
            v2.ColorJitter(recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue),
            v2.RandomRotation(recipe.degrees, interpolation=BILINEAR),
            v2.ToDtype(torch.float32),
        ]
    )


def milliseconds(work: Callable[[int], object]) -> list[float]:
    """Sorted times an image, of repeats over several images each."""
    work(0)
    times = []
    for repeat in range(REPEATS):
        started = time.perf_counter()
        for k in range(IMAGES):
            work(repeat * IMAGES + k)
        times.append(1000 * (time.perf_counter() - started) / IMAGES)
    return sorted(times)


def told(name: str, times: list[float], base: float | None = None) -> float:
    """Prints a line; returns the median."""
    median = statistics.median(times)
    ratio = "" if base is None else f"  {median / base:.1f} x fused"
    print(f"  {name:<26} {median:6.2f} ms an image (range {times[0]:.2f}-{times[-1]:.2f}){ratio}")
    return median


def time_both(recipe: AugmentRecipe, spec: InputSpec) -> None:
    """Fused, fused as a batch, and step by step."""
    stored = picture(spec.stored_size)
    tensor = to_tensor(stored)
    batch = tensor[None].repeat(IMAGES, 1, 1, 1)
    steps = torchvision_steps(recipe, spec.img_size)

    def as_batch(first: int) -> None:
        if first % IMAGES == 0:  # once a repeat, so that the time is an image's too
            augment_batch(batch, [draw_augmentation(recipe, first + k) for k in range(IMAGES)], spec)

    fused = told("fused", milliseconds(lambda k: to_tensor(augment(stored, draw_augmentation(recipe, k), spec))))
    told("fused, batch of 40", milliseconds(as_batch), fused)
    told("torchvision v2", milliseconds(lambda k: steps(tensor)), fused)


def distance_of_one_from_three(spec: InputSpec, count: int = 40) -> list[float]:
    """Mean absolute distance in gray levels of the fused geometry from crop, rotation and shift one by one."""
    stored, size = picture(spec.stored_size), spec.img_size
    recipe = AugmentRecipe(crop_scale=(0.8, 1.0), hflip=0.5, degrees=15, translate=0.1)
    apart = []
    for seed in range(count):
        draw = draw_augmentation(recipe, seed)
        box = warp_of(Draw(crop=draw.crop), stored_size=spec.stored_size, img_size=size)
        image = to_tensor(stored).float()
        where = (box.top, box.left, box.bottom - box.top, box.right - box.left)
        image = functional.resized_crop(image, *where, [size, size], interpolation=BILINEAR, antialias=False)
        image = functional.horizontal_flip(image) if draw.mirror_x else image
        image = functional.rotate(image, draw.degrees, interpolation=BILINEAR)
        shift = [draw.shift_x * size, draw.shift_y * size]
        image = functional.affine(image, 0, shift, 1, [0, 0], interpolation=BILINEAR)
        inner = slice(size // 3, -(size // 3))
        difference = np.abs(augment(stored, draw, spec) - image.numpy().transpose(1, 2, 0))
        apart.append(float(difference[inner, inner].mean()))
    return sorted(apart)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--img-size", type=int, default=224)
    size = parser.parse_args().img_size
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    wanted = InputSpec(img_size=size, canonical_size=round(size * 8 / 7))
    for title, settings in (("with hue", {}), ("without hue", {"hue": 0.0})):
        print(f"{title}, {wanted.stored_size} to {size} pixels:")
        time_both(AugmentRecipe(preset="convnextv2_ssa", **settings), wanted)
    distances = distance_of_one_from_three(wanted)
    print(
        f"one interpolation and three differ by {statistics.mean(distances):.2f} gray levels on average "
        f"(range {distances[0]:.2f}-{distances[-1]:.2f})"
    )
