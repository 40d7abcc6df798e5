"""Training images a second: Chiron's loader from its cache and from files, beside torchvision's ImageFolder and v2.

    python benchmarks/loader.py IMAGES_FOLDER [--img-size 224] [--workers 0 2] [--rounds 5]

All JPEGs below the folder are linked into two class folders. Every loader gives normalized float batches with the same
augmentation: crop of 80 to 100 % of the area, mirror, rotation by up to 15 degrees, brightness, contrast and saturation
by up to 20 %. Rounds are interleaved in one process; medians, the slowest and the fastest round are printed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from chiron.core.process import prepare_process
from chiron.data.cache import cache_images
from chiron.data.dataset import EpochBatches, TrainingImages
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.engine.runtime import start_runtime
from chiron.preprocess.finish import Finish
from chiron.spec.augment import AugmentRecipe
from chiron.spec.input_spec import IMAGENET_MEAN, IMAGENET_STD, InputSpec

BATCH = 32
AUGMENT = AugmentRecipe(crop_scale=(0.8, 1.0), hflip=0.5, degrees=15, brightness=0.2, contrast=0.2, saturation=0.2)


def link_classes(images: Path, folder: Path) -> int:
    """Links the images into two class folders, and returns how many there are."""
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    for k, file in enumerate(files):
        place = folder / ("a", "b")[k % 2]
        place.mkdir(exist_ok=True)
        (place / f"{k:06d}.jpg").symlink_to(file.resolve())
    return len(files)


def of_torchvision(folder: Path, img_size: int, workers: int) -> Callable[[], int]:
    """One epoch of ImageFolder with torchvision's v2 transforms, in the order of its reference scripts."""
    transform = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomResizedCrop(img_size, scale=(0.8, 1.0), antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomRotation(15, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(0.2, 0.2, 0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    loader = DataLoader(ImageFolder(folder, transform), batch_size=BATCH, shuffle=True, num_workers=workers)
    return lambda: sum(len(pixels) for pixels, _ in loader)


def of_chiron(folder: Path, img_size: int, workers: int, cache: Path | None) -> Callable[[], int]:
    """One epoch of training images through `finish`, as `fit` takes them."""
    spec, manifest = InputSpec(img_size=img_size, canonical_size=round(img_size * 8 / 7)), read_dataset(folder)
    images = TrainingImages(
        ImageSource(folder),
        manifest.frame["path"].to_list(),
        spec,
        sample_ids=manifest.frame["sample_id"].to_list(),
        recipe=AUGMENT,
        seed=0,
        cached=None if cache is None else cache_images(manifest, spec, cache),
    )
    batches, finish = EpochBatches(len(images), BATCH, seed=0), Finish(spec)
    loader = start_runtime(device="cpu", num_workers=workers).loader(images, batches=batches)

    def epoch() -> int:
        batches.begin(0)
        return sum(len(finish(pixels)[0]) for pixels, _ in loader)

    return epoch


def main() -> None:
    """Prints a table a number of workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        count = link_classes(asked.images, folder)
        for workers in asked.workers:
            epochs = {
                "torchvision": of_torchvision(folder, asked.img_size, workers),
                "Chiron, from files": of_chiron(folder, asked.img_size, workers, None),
                "Chiron, from cache": of_chiron(folder, asked.img_size, workers, Path(place) / "cache"),
            }
            speed: dict[str, list[float]] = {name: [] for name in epochs}
            for turn in range(asked.rounds + 1):
                for name, epoch in epochs.items():
                    started = time.perf_counter()
                    done = epoch()
                    if turn:  # the first round warms up
                        speed[name].append(done / (time.perf_counter() - started))
            threads, rounds = torch.get_num_threads(), asked.rounds
            print(f"\n{count:,} images, {asked.img_size} px, {workers} workers, {threads} threads, {rounds} rounds\n")
            print("| loader | images/s (slowest to fastest round) | ratio |\n|---|---|---|")
            base = statistics.median(speed["torchvision"])
            for name, found in speed.items():
                middle = statistics.median(found)
                print(f"| {name} | {middle:.0f} ({min(found):.0f}-{max(found):.0f}) | {middle / base:.1f} |")


if __name__ == "__main__":
    prepare_process()  # what every Chiron program does at its start; both sides gain from it
    main()
