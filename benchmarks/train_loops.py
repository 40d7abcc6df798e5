"""Training speed: Chiron's loop beside plain steps, beside timm's training script and torchvision's reference loop.

    git clone --depth 1 https://github.com/huggingface/pytorch-image-models TIMM
    git clone --depth 1 https://github.com/pytorch/vision VISION
    python benchmarks/train_loops.py IMAGES --own
    python benchmarks/train_loops.py IMAGES --beside --timm TIMM --torchvision VISION
    python benchmarks/train_loops.py IMAGES --quality --timm TIMM --torchvision VISION --img-size 128 --lr 1e-3

`--own`: images a second of whole epochs from the cache over those of plain steps on one batch that stays in memory, in
the same mode, by turns in one process. `--beside`: the same model, images, batch, size, augmentation (a crop of 80 to
100 % of the area at a ratio of 3:4 to 4:3, half of them mirrored), loss and AdamW without weight decay. The others run
in fp32 from files with `--workers` processes; Chiron as `chiron train` does, from its cache, which is filled before, in
fp32 and with what it chooses itself. timm runs its own `train.py` and tells its time a step; torchvision's
`train_one_epoch` gets timm's model, with 5 outputs, as it asks for the top five. Each side has processes of its own, in
interleaved rounds, since Chiron sets its memory allocator at the start; rates are of epochs after the first, without
start-up and validation. Beside them stand plain steps with and without that setting. Speed takes all JPEGs below IMAGES
as two classes without meaning.

`--quality`: IMAGES holds two folders, one a class. Each side trains three times, its rate falling by a cosine; one code
scores the last weights on the val part, the best epoch is not looked for. `--group-pattern` keeps images together whose
names match it in the same way. What is measured is appended to `--out`, and what stands there is not measured again.
"""

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from train_sides import BATCH, SIDES, Job

SIDE = str(Path(__file__).with_name("train_sides.py"))
# As the command line does it: before torch is loaded.
PREPARED = (
    "import runpy, sys; from chiron.core.process import prepare_process; prepare_process(); "
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run_side(side: str, job: Job) -> dict[str, Any]:
    """What one side measured, in a process of its own."""
    prepared = ("-c", PREPARED) if side.startswith("chiron") or side.endswith("allocator set") else ()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, *prepared, SIDE, side, json.dumps(asdict(job))]
    done = subprocess.run(command, env=plain, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def deal_images(images: Path, folder: Path, *, count: int, classes: bool, pattern: str | None) -> None:
    """Links images into train/ and val/: `count` for training, and a third as many for val."""
    found = sorted(path for path in images.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    groups: dict[str, list[Path]] = {}
    for path in found:
        match = re.search(pattern, path.name) if pattern else None
        groups.setdefault(match.group() if match else str(path), []).append(path)
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    val: list[Path] = []
    while len(val) < count // 3:
        val += groups[order.pop()]
    train = [path for name in order for path in groups[name]][:count]
    if len(train) < count:
        raise SystemExit(f"{images} must hold {count + count // 3} JPEGs. It has {len(found)}. Lower --count.")
    for split, files in (("train", train), ("val", val)):
        for number, file in enumerate(files):
            name = file.relative_to(images).parts[0] if classes else ("a", "b")[number % 2]
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:06d}.jpg").symlink_to(file.resolve())


def told(values: list[float]) -> str:
    """Median, the slowest and the fastest round."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def measure_own(job: Job, model: str, rounds: int) -> Iterator[str]:
    """Rows of `--own`: each mode of a model."""
    for side in ("chiron fp32", "chiron auto"):
        found = run_side(side, replace(job, model=model, by_turns=True, epochs=rounds + 1))
        ratios = [whole / plain for whole, plain in zip(found["rates"], found["plain"], strict=True)]
        besides = statistics.median(found["seconds_besides"]) / statistics.median(found["seconds"])
        yield (
            f"| {model} | {found['mode']} | {told(found['rates'])} | {told(found['plain'])} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {besides:.0%} |"
        )


def measure_beside(job: Job, model: str, rounds: int) -> Iterator[str]:
    """Rows of `--beside`: each side of a model."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    modes: dict[str, str] = {}
    for _ in range(rounds):
        for side in SIDES:
            found = run_side(side, replace(job, model=model))
            rates[side].append(statistics.median(found["rates"]))
            modes[side] = found.get("mode", "fp32")
    for side in SIDES:
        ratios = (statistics.median(rates[side]) / statistics.median(rates[of]) for of in ("timm", "torchvision"))
        yield f"| {model} | {side} | {modes[side]} | {told(rates[side])} | {' | '.join(f'{r:.2f}' for r in ratios)} |"


def measure_quality(job: Job, model: str, seeds: int, out: Path) -> Iterator[str]:
    """Rows of `--quality`: mean and standard deviation of each side over its seeds."""
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []
    sides = ("timm", "torchvision", "chiron fp32", "chiron auto")
    for seed in range(seeds):
        for side in sides:
            key = {"side": side, "model": model, "seed": seed, "epochs": job.epochs, "lr": job.lr, "px": job.img_size}
            if not any(key.items() <= row.items() for row in done):
                done.append(key | run_side(side, replace(job, model=model, seed=seed, score=True)))
                with out.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
    for side in sides:
        rows = [row for row in done if key | {"side": side, "seed": row["seed"]} == {k: row[k] for k in key}]
        shown = []
        for metric in ("auroc", "log_loss"):
            values = [row[metric] for row in rows]
            spread = f" (SD {statistics.stdev(values):.4f})" if len(values) > 1 else ""
            shown.append(f"{statistics.mean(values):.4f}{spread}")
        yield f"| {model} | {side} | {len(rows)} | {' | '.join(shown)} |"


def main() -> None:
    """Prints the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?", help="folder of JPEGs")
    for part in ("own", "beside", "quality"):
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--timm", type=Path, help="checkout of timm's repository")
    parser.add_argument("--torchvision", type=Path, help="checkout of torchvision's repository")
    parser.add_argument("--models", nargs="+", default=["convnext_atto", "efficientnet_b0"])
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--count", type=int, default=256, help="training images, best a multiple of 32")
    parser.add_argument("--epochs", type=int, default=2, help="of a training; speed leaves out the first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--workers", type=int, default=2, help="processes of the others that load images")
    parser.add_argument("--group-pattern", help="images whose names match in the same way stay together")
    parser.add_argument("--out", type=Path, default=Path("quality.jsonl"))
    asked = parser.parse_args()
    if asked.images is None or not (asked.own or asked.beside or asked.quality):
        parser.error("give a folder of JPEGs, and --own, --beside or --quality")
    if (asked.beside or asked.quality) and None in (asked.timm, asked.torchvision):
        parser.error("--beside and --quality need --timm and --torchvision")
    timm_at, torchvision_at = (str(path.resolve()) if path else "" for path in (asked.timm, asked.torchvision))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        deal_images(asked.images, folder, count=asked.count, classes=asked.quality, pattern=asked.group_pattern)
        job = Job(
            folder=str(folder),
            model="",
            img_size=asked.img_size,
            epochs=asked.epochs,
            lr=asked.lr,
            workers=asked.workers,
            timm=timm_at,
            torchvision=torchvision_at,
        )
        print(f"{asked.count} images of {asked.img_size} px, batch {BATCH}, {torch.get_num_threads()} threads\n")
        if asked.own:
            print("| model | mode | epoch, images/s | plain steps | ratio | validation and checkpoint, of it |")
            print("|---|---|---|---|---|---|")
            for model in asked.models:
                print(*measure_own(job, model, asked.rounds), sep="\n", flush=True)
        if asked.beside:
            print("\n| model | side | mode | images/s | over timm's | over torchvision's |\n|---|---|---|---|---|---|")
            for model in asked.models:
                print(*measure_beside(job, model, asked.rounds), sep="\n", flush=True)
        if asked.quality:
            print("\n| model | side | seeds | val AUROC | val log loss |\n|---|---|---|---|---|")
            for model in asked.models:
                print(*measure_quality(job, model, asked.seeds, asked.out), sep="\n", flush=True)


if __name__ == "__main__":
    main()
