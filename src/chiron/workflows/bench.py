"""`chiron bench train`: how fast a recipe or a model trains here, where the time goes, and what to do about it."""

import logging
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import torch

from chiron.core.errors import SpecError
from chiron.core.files import write_text
from chiron.core.hashing import sha256_bytes
from chiron.core.suggest import did_you_mean
from chiron.data.cache import cache_images
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import LABEL_PREFIX
from chiron.engine.bench import Measured, Spread, measure_training, warmup_steps
from chiron.engine.runtime import Runtime, start_runtime
from chiron.engine.setup import Setup, set_up
from chiron.models.describe import default_img_size
from chiron.spec.library import packaged_recipes
from chiron.spec.model_names import is_known_model, known_model_names, needs_mask
from chiron.spec.recipe import Recipe
from chiron.workflows.check import check_recipe
from chiron.workflows.data import label_space, prepare
from chiron.workflows.phantoms import make_phantoms

log = logging.getLogger("chiron.bench")
_DISTINCT = 64  # phantoms that are drawn; more images are these again under other names
_ASSUMED_IMAGES = 10_000


def bench_train(
    name: str,
    data: str | Path | None = None,
    *,
    overrides: tuple[str, ...] = (),
    num_images: int | None = None,
    num_steps: int = 20,
    device: str = "auto",
    threads: int | None = None,
    cache: bool = True,
) -> dict[str, Any]:
    """Times the training of a recipe, or of a model at its own input size with batches of 32; nothing is kept.

    First weights are random, which takes the same time. Every part is the run's own: files, cache, loader, warp,
    network, loss, optimizer.

    Args:
        name: a recipe (file or packaged name) or a model that `chiron models` lists.
        data: images to train on; by default phantoms of the recipe's size, and for every class some.
        num_images: training images that an epoch is estimated for; by default the data's.
        cache: keep decoded images, as `chiron train` does; decoding is then told and no part of a step.

    Returns:
        Plain values, each with its unit in its name; times of parts as medians with quartiles.

    Raises:
        SpecError: there is neither such a recipe nor such a model.
    """
    with TemporaryDirectory(prefix="chiron-bench-") as place:
        recipe = _scratch(_recipe_of(name, overrides, Path(place)))
        train = recipe.train
        runtime = start_runtime(
            device=device, num_workers=train.num_workers, threads=threads, deterministic=train.deterministic
        )
        steps = num_steps + warmup_steps(runtime.num_workers)
        if data is None:
            manifest = _phantoms(recipe, Path(place) / "phantoms", num_images=steps * train.batch_size)
            labels = label_space(recipe, manifest)
        else:
            manifest, labels = prepare(recipe, Path(data))
        short = recipe.model_copy(update={"train": train.model_copy(update={"sanity_steps": steps})})
        images = num_images or (_ASSUMED_IMAGES if data is None else manifest.select("train").frame.height)
        setup = set_up(short, manifest, labels, runtime, num_images=images * train.epochs)
        if cache:
            _cache(setup, manifest, Path(place) / "cache")
        log.info("timing %d steps of %d images on %s", num_steps, train.batch_size, runtime.device)
        measured = measure_training(setup, num_steps=num_steps)
    told_by = "stated" if num_images else "assumed" if data is None else "data"
    share_of_val = recipe.data.fractions["val"] / recipe.data.fractions["train"]
    val_images = round(images * share_of_val) if data is None or num_images else manifest.select("val").frame.height
    return {
        "name": name,
        "model": recipe.model.name,
        "data": "phantoms" if data is None else str(data),
        **_setting(setup, runtime, num_steps, cached=setup.images.cached is not None),
        **_numbers(measured, runtime),
        **_estimates(measured, recipe, images, val_images),
        "num_train_images_from": told_by,
        "bottleneck": bottleneck(measured, setup),
    }


def _recipe_of(name: str, overrides: tuple[str, ...], place: Path) -> Recipe:
    """The recipe of that name, or one for the model of that name."""
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file() or not is_known_model(name):
        _require_known(name)
        return check_recipe(name, overrides)
    mask = "{img_size: %d, mask: lung}" if needs_mask(name) else "{img_size: %d}"
    lines = [
        f"model: {{name: {name}, init: scratch}}",
        f"input: {mask % default_img_size(name)}",
        "train: {epochs: 1, batch_size: 32, lr: 1e-4}",
    ]
    write_text(place / f"{name}.yaml", "\n".join(lines))
    return check_recipe(str(place / f"{name}.yaml"), overrides)


def _require_known(name: str) -> None:
    if Path(name).suffix in {".yaml", ".yml"} or Path(name).is_file():
        return
    recipes = packaged_recipes()
    if any(name in (key, key.split("/")[-1], key.rsplit(".", 1)[0]) for key in recipes):
        return
    hint = did_you_mean(name, [*recipes, *known_model_names()])
    raise SpecError(
        f"What is timed must be a recipe or a model. Got {name!r}. {hint} `chiron recipes list` and "
        "`chiron models list` show the names.".replace("  ", " ")
    )


def _scratch(recipe: Recipe) -> Recipe:
    model = recipe.model.model_copy(update={"init": "scratch", "weights": None})
    return recipe.model_copy(update={"model": model})


def _phantoms(recipe: Recipe, place: Path, *, num_images: int) -> Manifest:
    """Images of the stored size for training, drawn once and named often enough; the labels are dealt in turn."""
    kind = "phantom-cxr" if recipe.input.in_chans == 1 or recipe.input.mask == "lung" else "phantom-derm"
    log.info("drawing %d phantoms of %d px", min(num_images, _DISTINCT), recipe.input.stored_size)
    root = make_phantoms(kind, place, num_images=min(num_images, _DISTINCT), img_size=max(32, recipe.input.stored_size))
    files = sorted((root / "images").iterdir())
    digests = [sha256_bytes(file.read_bytes()) for file in files]
    classes, places = _classes_of(recipe), range(num_images)
    columns: dict[str, Any] = {
        "sample_id": [f"phantom-{k}" for k in places],
        "path": [f"images/{files[k % len(files)].name}" for k in places],
        "bytes_sha256": [digests[k % len(files)] for k in places],
    }
    if recipe.data.labels == "multi":
        columns |= {LABEL_PREFIX + name: [k % len(classes) == i for k in places] for i, name in enumerate(classes)}
    else:
        columns["label"] = [classes[k % len(classes)] for k in places]
    frame = pl.DataFrame(columns).with_columns(pl.lit("train").alias("split"), pl.selectors.boolean().cast(pl.Int8))
    return Manifest(frame, classes, root, "phantoms")


def _classes_of(recipe: Recipe) -> tuple[str, ...]:
    """The recipe's classes; where the data would name them, those of a small problem."""
    labels = recipe.labels
    if labels.names:
        return labels.names
    if recipe.data.labels != "multi" and labels.positive is not None:
        return (f"not {labels.positive}", labels.positive)
    return ("a", "b", "c")


def _cache(setup: Setup, manifest: Manifest, place: Path) -> None:
    """Decoded images of the steps that are timed."""
    setup.state.progress.epoch = setup.recipe.train.epochs - 1
    setup.begin_epoch()
    used = {key.index for number in range(setup.batches.num_batches) for key in setup.batches.keys_of(number)}
    paths = {setup.images.paths[index] for index in used}
    part = Manifest(
        manifest.frame.filter(pl.col("path").is_in(list(paths))), manifest.classes, manifest.root, manifest.reader
    )
    if (cached := cache_images(part, setup.recipe.input, place)) is not None:
        setup.images.cached = cached


def _setting(setup: Setup, runtime: Runtime, num_steps: int, *, cached: bool) -> dict[str, Any]:
    device = runtime.device
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "num_workers": runtime.num_workers,
        "compute_mode": str(setup.mode),
        "img_size_px": setup.recipe.input.img_size,
        "batch_size": setup.recipe.train.batch_size,
        "num_steps": num_steps,
        "cached": cached,
    }


def _numbers(measured: Measured, runtime: Runtime) -> dict[str, Any]:
    peak = measured.memory_peak_bytes
    return {
        "decode_ms_per_image": _in_ms(measured.decode),
        "read_ms_per_image": _in_ms(measured.read),
        "warp_ms_per_image": _in_ms(measured.warp),
        **{f"{part}_ms_per_step": _in_ms(spread) for part, spread in measured.parts.items()},
        "compute_ms_per_step": _in_ms(measured.step),
        "waiting_ms_per_step": _in_ms(measured.waiting),
        "end_to_end_ms_per_step": _in_ms(measured.loaded_step),
        "score_ms_per_image": _in_ms(measured.score),
        "compute_images_per_second": measured.compute_images_per_second,
        "end_to_end_images_per_second": measured.images_per_second,
        "end_to_end_over_compute": measured.images_per_second / measured.compute_images_per_second,
        "waiting_percent": 100 * measured.waiting_share,
        "memory_peak_mib": None if peak is None else peak / 2**20,
        "memory_of": "tensors on the GPU" if runtime.device.type == "cuda" else "the whole process",
    }


def _in_ms(spread: Spread) -> dict[str, float]:
    return {name: 1000 * seconds for name, seconds in asdict(spread).items()}


def _estimates(measured: Measured, recipe: Recipe, images: int, val_images: int) -> dict[str, Any]:
    """An epoch is its steps, as fast as the timed ones, and the scoring of val."""
    epoch = images / measured.images_per_second + val_images * measured.score.median
    return {
        "num_train_images": images,
        "num_val_images": val_images,
        "epoch_seconds": epoch,
        "epochs": recipe.train.epochs,
        "training_seconds": epoch * recipe.train.epochs,
    }


def bottleneck(measured: Measured, setup: Setup) -> str:
    """One sentence: what takes the largest share of the time of training, and what to do about it."""
    computing = 1 - measured.waiting_share
    shares = {part: computing * spread.median / measured.step.median for part, spread in measured.parts.items()} | {
        "waiting": measured.waiting_share
    }
    largest = max(shares, key=shares.__getitem__)
    what = {
        "waiting": "Waiting for images",
        "copy": "Copying images to the device",
        "forward": "The network's forward pass",
        "backward": "The network's backward pass",
        "optimizer": "The optimizer",
    }[largest]
    return f"{what} takes {100 * shares[largest]:.0f} % of the time: {_advice(largest, measured, setup)}."


def _advice(part: str, measured: Measured, setup: Setup) -> str:
    if part == "waiting":
        return _advice_on_images(measured, setup)
    if part == "copy":
        return "try a smaller input.img_size"
    if part == "optimizer":
        return "try a larger train.batch_size, so that there are fewer steps"
    if setup.recipe.train.precision != "auto":
        return "try --set train.precision=auto, which measures what is fastest here"
    return "try a smaller input.img_size, a smaller network" + ", or a GPU" * (setup.runtime.device.type == "cpu")


def _advice_on_images(measured: Measured, setup: Setup) -> str:
    workers = setup.runtime.num_workers
    if measured.read.median >= measured.warp.median:
        if setup.images.cached is None:
            return "leave out --no-cache, so that each image is decoded once"
        return "put the cache on a faster disk"
    if setup.runtime.device.type == "cpu" and not workers:
        return "augmentation shares the cores with the network; try fewer keys of augment"
    return f"augmentation is slow; try --set train.num_workers={2 * max(1, workers)}, or fewer keys of augment"
