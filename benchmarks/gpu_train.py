"""Training on a GPU, from the cache: images a second, share of the peak, how busy the GPU is, compiled and not.

    python benchmarks/gpu_train.py [--models NAME ...] [--img-size 224] [--batch-size 64] [--epochs 4] [--json]
    python benchmarks/gpu_train.py --device cpu --models chiron_h_coatnet_nano --img-size 32 --batch-size 8 --count 400

Draws dermoscopic phantoms, and trains each model on them with Chiron's own loop. All numbers are of epochs after the
first, which warms up and compiles. Share of the peak: multiply-adds and additions of a training step, counted by
torch.utils.flop_counter in the uncompiled network, times steps a second, over the dense peak of the precision that the
GPU's maker names; not measured where the GPU is not in the table below. Busy: the mean of nvidia-smi's utilization, the
share of time in which any kernel ran. Waiting: the share of the epoch's time in which the loop waited for a batch. What
a CPU cannot tell is "not measured".
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from chiron.core.errors import ChironError
from chiron.core.process import prepare_process
from chiron.data.cache import CachedImages, cache_images
from chiron.data.manifest import Manifest
from chiron.engine import fit as loop
from chiron.engine.compute import ComputeMode
from chiron.engine.loading import TrainingLoader
from chiron.engine.runtime import Runtime, start_runtime
from chiron.models.create import create_model, example_inputs
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe
from chiron.workflows.data import prepare
from chiron.workflows.phantoms import make_phantoms

MODELS = ["chiron_h_coatnet", "chiron_convnextv2_ssa_compact", "swin_tiny_patch4_window7_224", "convnext_tiny"]
# Dense peaks in TFLOP/s of the 16-bit types with 32-bit sums, from the data sheets; the first name that fits counts.
PEAKS = {
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "B200": 2250,
    "A100": 312,
    "A10": 125,
    "L40S": 362,
    "L4": 121,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "V100": 125,
    "T4": 65,
}


class TimedLoader(TrainingLoader):
    """The same batches, and how long the loop waited for them."""

    waited = 0.0  # of the epoch so far, seconds

    def __iter__(self) -> Iterator[Any]:
        type(self).waited, batches = 0.0, super().__iter__()
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            type(self).waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch


class BusySamples:
    """The GPU's utilization ten times a second, by nvidia-smi."""

    def __init__(self) -> None:
        self.values: list[tuple[float, int]] = []
        query = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]
        self._program = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._program.stdout is not None
        for line in self._program.stdout:
            if line.strip().isdecimal():
                self.values.append((time.monotonic(), int(line)))

    def mean_since(self, start: float) -> float | None:
        """The mean share since `start`; None where there is no sample."""
        self._program.terminate()
        found = [value for at, value in self.values if at >= start]
        return statistics.mean(found) / 100 if found else None


def recipe_of(name: str, asked: argparse.Namespace, *, compiled: bool) -> Recipe:
    """A recipe of plain augmentation."""
    return Recipe.model_validate(
        {
            "about": "a benchmark",
            "model": {"name": name, "init": "scratch"},
            "input": {"img_size": asked.img_size, "canonical_size": asked.img_size * 8 // 7},
            "augment": {"crop_scale": (0.8, 1.0), "hflip": 0.5, "degrees": 15, "brightness": 0.2, "contrast": 0.2},
            "train": {
                "epochs": asked.epochs,
                "batch_size": asked.batch_size,
                "lr": 1e-4,
                "drop_last": True,
                "precision": asked.precision,
                "channels_last": asked.channels_last,
                "compile": compiled,
                "deterministic": False,
                "num_workers": asked.workers,
            },
        }
    )


def flops_of_step(name: str, num_classes: int, asked: argparse.Namespace, device: torch.device) -> int:
    """Floating-point operations of forward and backward of one image; two a multiply-add."""
    model = create_model(name, num_classes=num_classes, img_size=asked.img_size, init="scratch", seed=0).to(device)
    images = torch.zeros(2, 3, asked.img_size, asked.img_size, device=device)
    with FlopCounterMode(display=False) as counter:
        model(*example_inputs(model, images)).sum().backward()
    return counter.get_total_flops() // len(images)


def peak_of(device: torch.device, mode: ComputeMode) -> float | None:
    """Operations a second that the GPU could do; None where it is not known."""
    if device.type != "cuda" or mode.precision == "fp32":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for part, peak in PEAKS.items() if part in name), None)


def measure(
    name: str,
    asked: argparse.Namespace,
    manifest: Manifest,
    labels: LabelSpace,
    cached: CachedImages | None,
    runtime: Runtime,
    *,
    compiled: bool,
) -> dict[str, Any]:
    """One row: a model, compiled or not."""
    device = runtime.device
    ends, waited = [], []

    def on_epoch(history: list[dict[str, Any]]) -> None:
        ends.append(time.monotonic())
        waited.append(TimedLoader.waited)

    busy = BusySamples() if device.type == "cuda" and shutil.which("nvidia-smi") else None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    recipe = recipe_of(name, asked, compiled=compiled)
    fitted = loop.fit(recipe, manifest, labels, checkpoints=None, runtime=runtime, on_epoch=on_epoch, cached=cached)
    history = fitted.progress.history[1:]
    mode = loop.parse_mode(fitted.progress.setting["precision"])
    rate = statistics.median(row["images_per_second"] for row in history)
    peak = peak_of(device, mode)
    flops = flops_of_step(name, len(labels.names), asked, device)
    return {
        "model": name,
        "mode": str(mode),
        "images_per_second": rate,
        "gflops_an_image": flops / 1e9,
        "share_of_peak": None if peak is None else flops * rate / peak,
        "busy": busy.mean_since(ends[0]) if busy else None,
        "waiting": statistics.median(w / row["seconds"] for w, row in zip(waited[1:], history, strict=True)),
        "memory_gb": torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
        "first_epoch_seconds": fitted.progress.history[0]["seconds"],
    }


def shown(row: dict[str, Any]) -> str:
    """The row of a table."""
    share, busy, waiting = (
        "not measured" if value is None else f"{value:.0%}"
        for value in (row["share_of_peak"], row["busy"], row["waiting"])
    )
    memory = "not measured" if row["memory_gb"] is None else f"{row['memory_gb']:.1f} GB"
    return (
        f"| {row['model']} | {row['mode']} | {row['images_per_second']:.0f} | {row['gflops_an_image']:.2f} | {share} | "
        f"{busy} | {waiting} | {memory} | {row['first_epoch_seconds']:.0f} s |"
    )


def main() -> None:
    """Reads the options, draws the images, and prints a row a model and mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--count", type=int, default=3000, help="images, a tenth of them for validation")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", nargs="+", choices=("off", "on"), default=["off", "on"])
    parser.add_argument("--workers", default="auto", help="processes that read images")
    parser.add_argument("--json", action="store_true", help="a line a row instead of a table")
    asked = parser.parse_args()
    asked.workers = asked.workers if asked.workers == "auto" else int(asked.workers)
    runtime = start_runtime(device=asked.device, num_workers=asked.workers, deterministic=False)
    what = torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else "CPU"
    loop.TrainingLoader = TimedLoader  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as place:
        folder = make_phantoms("phantom-derm", Path(place) / "images", num_images=asked.count, img_size=asked.img_size)
        recipe = recipe_of(asked.models[0], asked, compiled=False)
        manifest, labels = prepare(recipe, folder)
        cached = cache_images(manifest, recipe.input, Path(place) / "cache")
        images = manifest.select("train").frame.height
        print(f"{what}, torch {torch.__version__}: {images} images of {asked.img_size} px, batch {asked.batch_size}\n")
        if not asked.json:
            print("| model | mode | images/s | GFLOP an image | of peak | busy | waiting | memory | first epoch |")
            print("|---|---|---|---|---|---|---|---|---|")
        for name in asked.models:
            for compiled in (choice == "on" for choice in asked.compile):
                row = measure(name, asked, manifest, labels, cached, runtime, compiled=compiled)
                print(json.dumps(row) if asked.json else shown(row), flush=True)


if __name__ == "__main__":
    prepare_process()
    try:
        main()
    except ChironError as error:
        sys.exit(str(error))
