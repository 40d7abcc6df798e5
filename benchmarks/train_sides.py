"""One side of `train_loops.py`: trains a network once and prints what it measured as a line of JSON.

python benchmarks/train_sides.py SIDE JOB
"""

import argparse
import itertools
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder

from chiron.audit.leaks import find_leaks
from chiron.data.cache import cache_images
from chiron.data.reading import read_dataset
from chiron.engine import measure
from chiron.engine.checkpoint import list_checkpoints, stored_setting
from chiron.engine.compute import ComputeMode, parse_mode
from chiron.engine.fit import fit
from chiron.engine.runtime import start_runtime
from chiron.metrics.scores.auroc import auroc
from chiron.metrics.scores.log_loss import log_loss
from chiron.spec.input_spec import IMAGENET_MEAN, IMAGENET_STD
from chiron.spec.layout import Layout
from chiron.spec.recipe import Recipe
from chiron.workflows.data import prepare

BATCH = 32
CROP, RATIO = (0.8, 1.0), (3 / 4, 4 / 3)
SIDES = ("timm", "torchvision", "chiron fp32", "chiron auto", "plain steps", "plain steps, allocator set")


@dataclass(frozen=True)
class Job:
    """One training of one side."""

    folder: str  # with train/ and val/, a folder a class in each
    model: str
    img_size: int
    epochs: int
    lr: float
    seed: int = 0
    workers: int = 2
    timm: str = ""  # folders of the checkouts
    torchvision: str = ""
    by_turns: bool = False  # Chiron: plain steps after every epoch
    steps: int = 8  # of the plain loop
    score: bool = False


def run_chiron(job: Job, precision: str) -> dict[str, Any]:
    """Chiron's own loop, from the cache. It chooses as for a training that is long enough to measure for."""
    measure.SHORT_TRAINING = 0
    # Where speed alone is measured, copies that stand on both sides do not matter.
    copies = () if job.score else tuple(find_leaks(read_dataset(Path(job.folder), Layout())).names)
    # Squashed to 8/7 of the size, as the packaged recipes do.
    recipe = Recipe.model_validate(
        {
            "about": "a benchmark",
            "model": {"name": job.model, "init": "scratch"},
            "input": {"img_size": job.img_size, "canonical_size": job.img_size * 8 // 7},
            "labels": {"positive": classes_of(job)[1]},
            "data": {"accept_leaks": copies},
            "augment": {"crop_scale": CROP, "crop_ratio": RATIO, "hflip": 0.5},
            "train": {
                "epochs": job.epochs,
                "batch_size": BATCH,
                "lr": job.lr,
                "weight_decay": 0,
                "seed": job.seed,
                "schedule_per": "epoch",
                "precision": precision,
                "num_workers": 0,
            },
        }
    )
    manifest, labels = prepare(recipe, Path(job.folder))
    cached = cache_images(manifest, recipe.input, Path(job.folder).parent / "cache")
    plain, ends = [], [time.perf_counter()]
    with tempfile.TemporaryDirectory() as kept:

        def on_epoch(history: list[dict[str, Any]]) -> None:
            if job.by_turns and len(history) > 1:
                started = time.perf_counter()
                mode = parse_mode(stored_setting(Path(kept))["precision"])
                plain.append(statistics.median(plain_rates(job, mode)))
                ends[-1] += time.perf_counter() - started
            ends.append(time.perf_counter())

        fitted = fit(
            recipe,
            manifest,
            labels,
            checkpoints=Path(kept),
            runtime=start_runtime(device="cpu"),
            on_epoch=on_epoch,
            cached=cached,
        )
        last = load_file(list_checkpoints(Path(kept))[-1] / "state.safetensors")
    history = fitted.progress.history
    whole = [after - before for before, after in itertools.pairwise(ends)][1:]
    return {
        "rates": [row["images_per_second"] for row in history[1:]],
        "mode": fitted.progress.setting["precision"],
        "plain": plain,
        # of each epoch: validation of the val part, and the checkpoint of the epoch before
        "seconds_besides": [w - row["seconds"] for w, row in zip(whole, history[1:], strict=True)],
        "seconds": [row["seconds"] for row in history[1:]],
        **score(job, {name[6:]: tensor for name, tensor in last.items() if name.startswith("model.")}),
    }


def run_torchvision(job: Job) -> dict[str, Any]:
    """`train_one_epoch` of torchvision's classification reference, with its transforms."""
    sys.path.insert(0, str(Path(job.torchvision) / "references" / "classification"))
    import presets
    import train

    torch.manual_seed(job.seed)
    random.seed(job.seed)
    transform = presets.ClassificationPresetTrain(crop_size=job.img_size)
    crop = next(step for step in transform.transforms.transforms if hasattr(step, "scale"))
    crop.scale, crop.ratio = CROP, RATIO
    images = ImageFolder(Path(job.folder) / "train", transform)
    loader = DataLoader(images, BATCH, sampler=RandomSampler(images), num_workers=job.workers, pin_memory=True)
    model = timm.create_model(job.model, num_classes=5)  # of which two occur
    optimizer = torch.optim.AdamW(model.parameters(), lr=job.lr, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=job.epochs)
    options = argparse.Namespace(
        print_freq=50, amp=False, clip_grad_norm=None, model_ema_steps=32, lr_warmup_epochs=0, distributed=False
    )
    rates = []
    for epoch in range(job.epochs):
        started = time.perf_counter()
        train.train_one_epoch(
            model, nn.CrossEntropyLoss(), optimizer, loader, torch.device("cpu"), epoch, options, None, None
        )
        rates.append(len(images) / (time.perf_counter() - started))
        schedule.step()
    return {"rates": rates[1:], **score(job, model.state_dict(), outputs=5)}


def run_timm(job: Job) -> dict[str, Any]:
    """timm's `train.py` as a program of its own; the rate is that of the mean time a step which it logs."""
    with tempfile.TemporaryDirectory() as kept:
        values = {
            "data-dir": job.folder,
            "train-split": "train",
            "val-split": "",
            "model": job.model,
            "num-classes": 2,
            "batch-size": BATCH,
            "epochs": job.epochs,
            "device": "cpu",
            "workers": job.workers,
            "seed": job.seed,
            "opt": "adamw",
            "lr": job.lr,
            "weight-decay": 0,
            "sched": "cosine",
            "warmup-epochs": 0,
            "hflip": 0.5,
            "color-jitter": 0,
            "smoothing": 0,
            "train-interpolation": "bilinear",
            "log-interval": 1,
            "output": kept,
            "experiment": "run",
            "checkpoint-hist": 1,
            "eval-metric": "loss",
        }
        pairs = {"scale": CROP, "ratio": RATIO, "input-size": (3, job.img_size, job.img_size)}
        command = [sys.executable, "train.py"]
        for name, value in values.items():
            command += [f"--{name}", str(value)]
        for name, several in pairs.items():
            command += [f"--{name}", *map(str, several)]
        done = subprocess.run(command, cwd=job.timm, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"timm's train.py failed:\n{done.stderr[-3000:]}")
        # Train: 1 [   9/10 (100%)] ... Time: 0.8s, 39.8/s  (0.81s, 39.4/s): the mean so far in brackets
        found = re.findall(r"Train: (\d+) \[.*?\(100%\)\].*?/s\s+\(([\d.]+)s", done.stderr + done.stdout)
        rates = [BATCH / float(seconds) for epoch, seconds in found if int(epoch) > 0]
        weights = timm.models.load_state_dict(str(Path(kept) / "run" / "last.pth.tar"), weights_only=False)
    return {"rates": rates, **score(job, weights)}


def plain_rates(job: Job, mode: ComputeMode) -> list[float]:
    """Images a second of steps on one batch that stays in memory: nothing but the network and its optimizer."""
    device = torch.device("cpu")
    torch.manual_seed(0)
    model = timm.create_model(job.model, num_classes=2).train()
    model, optimizer = mode.prepare(model), torch.optim.AdamW(model.parameters(), lr=1e-8, fused=True)
    images, targets = mode.lay_out(torch.randn(BATCH, 3, job.img_size, job.img_size)), torch.arange(BATCH) % 2
    rates = []
    for _ in range(job.steps + 2):
        started = time.perf_counter()
        optimizer.zero_grad()
        with mode.autocast(device):
            logits = model(images)
        nn.functional.cross_entropy(logits.float(), targets).backward()
        optimizer.step()
        rates.append(BATCH / (time.perf_counter() - started))
    return rates[2:]


def score(job: Job, weights: dict[str, torch.Tensor], *, outputs: int = 2) -> dict[str, float]:
    """What the weights of any side are worth on the val part: squashed images, fp32."""
    if not job.score:
        return {}
    model = timm.create_model(job.model, num_classes=outputs).eval()
    model.load_state_dict(weights)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    y_true, y_prob = [], []
    for label, name in enumerate(classes_of(job)):
        for file in sorted((Path(job.folder) / "val" / name).iterdir()):
            image = Image.open(file).convert("RGB").resize((job.img_size, job.img_size), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
            with torch.inference_mode():
                y_prob.append(model(((pixels - mean) / std)[None])[:, :2].softmax(1)[0].double().numpy())
            y_true.append(label)
    truth, probs = np.array(y_true), np.array(y_prob)
    return {"auroc": float(auroc(truth, probs[:, 1])), "log_loss": float(log_loss(truth, probs))}


def classes_of(job: Job) -> list[str]:
    """Names of the classes, in the order in which all sides count them."""
    return sorted(path.name for path in (Path(job.folder) / "train").iterdir())


def be_side(side: str, job: Job) -> dict[str, Any]:
    """What one side measured."""
    if side == "timm":
        return run_timm(job)
    if side == "torchvision":
        return run_torchvision(job)
    if side.startswith("chiron"):
        return run_chiron(job, side.split()[1])
    return {"rates": plain_rates(job, ComputeMode())}


if __name__ == "__main__":
    print(json.dumps(be_side(sys.argv[1], Job(**json.loads(sys.argv[2])))))
