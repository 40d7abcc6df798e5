"""The training loop, written out. Reads from top to bottom: set up, resume, epochs, steps, selection, stop."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from chiron.bundle import NetworkSpec
from chiron.classifier import Classifier, build_network
from chiron.core.errors import EngineError
from chiron.core.hashing import sha256_json
from chiron.core.registry import load_leaf
from chiron.data.dataset import EpochBatches, StoredImages, TrainingImages
from chiron.data.manifest import Manifest
from chiron.data.predictions import softmax
from chiron.data.source import ImageSource
from chiron.engine.checkpoint import (
    Progress,
    copy_weights,
    list_checkpoints,
    load_checkpoint,
    resume_setting,
    save_checkpoint,
)
from chiron.engine.runtime import Interruption, Runtime, require_finite, seed_step
from chiron.engine.schedules import warmup_cosine
from chiron.engine.scoring import score_images
from chiron.engine.selection import is_better, selection_metrics
from chiron.preprocess.finish import Finish
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")
TELL_EVERY_SECONDS = 15.0


@dataclass(frozen=True)
class Fitted:
    """The network with its best weights, and how it came to them."""

    network: nn.Module
    network_spec: NetworkSpec
    progress: Progress


def fit(
    recipe: Recipe,
    manifest: Manifest,
    labels: LabelSpace,
    *,
    checkpoints: Path,
    runtime: Runtime,
    on_epoch: Callable[[list[dict[str, Any]]], None],
) -> Fitted:
    """Trains on the train split, selects on val, and continues from the newest checkpoint where there is one.

    The weights are a function of recipe, manifest, thread count, precision and library versions: a run that was
    killed and resumed ends with the same bytes.

    Args:
        on_epoch: gets the whole history after every epoch.
    Raises:
        EngineError: the loss is not finite, memory runs out, or a checkpoint is damaged.
        OutputError: a checkpoint cannot be written.
    """
    setup = _set_up(recipe, manifest, labels, runtime)
    model, optimizer, train = setup.model, setup.optimizer, recipe.train
    progress, best = _resume(checkpoints, setup, runtime, recipe, manifest)
    loader = runtime.loader(setup.images, batches=setup.batches)
    saved_at = time.monotonic()
    with Interruption() as interruption, _clear_failures():
        while not progress.finished:
            setup.batches.begin(progress.epoch, progress.step_in_epoch)
            started = told = time.monotonic()
            images_before = progress.images_in_epoch
            model.train()
            for pixels, index in loader:
                step = progress.epoch * setup.batches.num_batches + progress.step_in_epoch
                for group in optimizer.param_groups:
                    group["lr"] = warmup_cosine(
                        step,
                        total_steps=train.epochs * setup.batches.num_batches,
                        warmup_steps=round(train.warmup_epochs * setup.batches.num_batches),
                        lr=train.lr,
                        min_lr=train.min_lr,
                    )
                seed_step(train.seed, progress.epoch, progress.step_in_epoch)
                loss = _step(setup, pixels, index, runtime, train.clip_grad, step)
                progress.loss_sum += loss * len(index)
                progress.images_in_epoch += len(index)
                progress.step_in_epoch += 1
                now = time.monotonic()
                if now - told > TELL_EVERY_SECONDS:
                    told = now
                    log.info("  %s", _within_epoch(progress, setup, now - started, images_before, train.epochs))
                if interruption.wanted or now - saved_at > train.checkpoint_minutes * 60:
                    save_checkpoint(checkpoints, model, optimizer, best, progress)
                    saved_at = now
                    interruption.stop_if_wanted()
            seconds = time.monotonic() - started
            images_per_second = (progress.images_in_epoch - images_before) / max(seconds, 1e-9)
            values = _validate(setup, runtime, train.batch_size)
            best = _note_epoch(progress, recipe, values, optimizer, model, best, seconds, images_per_second)
            on_epoch(progress.history)
            save_checkpoint(checkpoints, model, optimizer, best, progress)
            saved_at = time.monotonic()
            interruption.stop_if_wanted()
    assert best is not None  # the first epoch always becomes the best so far
    model.load_state_dict(best)
    return Fitted(model.eval(), setup.network_spec, progress)


@contextmanager
def _clear_failures() -> Iterator[None]:
    """Turns the failures that torch reports in its own words into one sentence."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one of them
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in first:
            raise EngineError(
                f"A training step must fit in memory. Got: {first} Lower train.batch_size or input.img_size; "
                "the last checkpoint is intact."
            ) from error
        if "DataLoader worker" in first:
            raise EngineError(
                f"The processes that decode images must live. Got: {first} "
                "Lower train.num_workers, then continue with --resume; the last checkpoint is intact."
            ) from error
        raise


@dataclass(frozen=True)
class _Setup:
    model: nn.Module
    network_spec: NetworkSpec
    optimizer: Optimizer
    finish: Finish
    loss: ModuleType
    targets: Tensor
    class_weights: Tensor | None
    images: TrainingImages
    batches: EpochBatches
    classifier: Classifier  # the same network, as the road to fp32 scores
    val_images: StoredImages
    y_val: np.ndarray
    labels: LabelSpace


def _set_up(recipe: Recipe, manifest: Manifest, labels: LabelSpace, runtime: Runtime) -> _Setup:
    train, val = manifest.select("train"), manifest.select("val")
    source = ImageSource(manifest.root)
    network_spec = NetworkSpec(name=recipe.model.name, args=recipe.model.args)
    model = build_network(network_spec, recipe.input, labels, init=recipe.model.init, seed=recipe.train.seed)
    model.to(runtime.device)
    loss = load_leaf("chiron.engine.losses", recipe.train.loss, kind="loss")
    y_train = torch.from_numpy(train.labels)
    images = TrainingImages(
        source,
        train.frame["path"].to_list(),
        recipe.input,
        sample_ids=train.frame["sample_id"].to_list(),
        recipe=recipe.augment,
        seed=recipe.train.seed,
    )
    weights = class_weights(train.labels, labels) if recipe.train.class_weights == "balanced" else None
    return _Setup(
        model=model,
        network_spec=network_spec,
        optimizer=AdamW(model.parameters(), lr=recipe.train.lr, weight_decay=recipe.train.weight_decay, fused=True),
        finish=Finish(recipe.input).to(runtime.device),
        loss=loss,
        targets=loss.make_targets(y_train, labels).to(runtime.device),
        class_weights=None if weights is None else weights.to(runtime.device),
        images=images,
        batches=EpochBatches(len(images), recipe.train.batch_size, recipe.train.seed),
        classifier=Classifier([model], network_spec=network_spec, input_spec=recipe.input, labels=labels).to(
            runtime.device
        ),
        val_images=StoredImages(source, val.frame["path"].to_list(), recipe.input),
        y_val=val.labels,
        labels=labels,
    )


def class_weights(y_train: np.ndarray, labels: LabelSpace) -> Tensor:
    """N / (C * n_c) a class of the training split; for one logit in the order (negative, positive)."""
    counts = np.bincount(y_train, minlength=len(labels.names))
    weights = torch.from_numpy(len(y_train) / (len(counts) * counts)).float()
    return weights.flip(0) if labels.one_logit and labels.positive_index == 0 else weights


def _resume(
    checkpoints: Path, setup: _Setup, runtime: Runtime, recipe: Recipe, manifest: Manifest
) -> tuple[Progress, dict[str, Tensor] | None]:
    setting = resume_setting(torch.get_num_threads(), runtime.precision, runtime.device)
    fresh = Progress(setting=setting, recipe=sha256_json(recipe.model_dump(mode="json")), data=manifest.digest)
    found = list_checkpoints(checkpoints)
    if not found:
        return fresh, None
    progress, best = load_checkpoint(found[-1], setup.model, setup.optimizer)
    if (progress.recipe, progress.data) != (fresh.recipe, fresh.data):
        what = "recipe.yaml" if progress.recipe != fresh.recipe else "manifest.csv"
        raise EngineError(
            f"A resumed run must keep its recipe and manifest. Got a changed {what}. Put it back, or start a new run."
        )
    before = progress.setting
    changed = [f"{key} {before.get(key)} -> {setting[key]}" for key in setting if before.get(key) != setting[key]]
    if changed:
        log.warning("resumed, not byte-equal to an uninterrupted run: %s", ", ".join(changed))
    log.info("resumed at epoch %d, step %d", progress.epoch + 1, progress.step_in_epoch)
    return progress, best


def _step(setup: _Setup, pixels: Tensor, index: Tensor, runtime: Runtime, clip_grad: float | None, step: int) -> float:
    with runtime.autocast():
        logits = setup.model(setup.finish(pixels.to(runtime.device, non_blocking=True)))
    loss = setup.loss.loss(logits, setup.targets[index], setup.class_weights)
    value = require_finite(loss, step=step)
    setup.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip_grad is not None:
        norm = nn.utils.clip_grad_norm_(setup.model.parameters(), clip_grad)
        require_finite(norm, step=step)
    setup.optimizer.step()
    return value


def _validate(setup: _Setup, runtime: Runtime, batch_size: int) -> dict[str, float | None]:
    setup.model.eval()
    logits = score_images(setup.classifier, setup.val_images, runtime, batch_size=batch_size)
    return selection_metrics(setup.y_val, softmax(logits.astype(np.float64)), setup.labels)


def _note_epoch(
    progress: Progress,
    recipe: Recipe,
    values: dict[str, float | None],
    optimizer: Optimizer,
    model: nn.Module,
    best: dict[str, Tensor] | None,
    seconds: float,
    images_per_second: float,
) -> dict[str, Tensor]:
    """Writes the epoch into the history, keeps the best weights, and decides whether to stop."""
    key, train = recipe.train.select_by, recipe.train
    row = {
        "epoch": progress.epoch + 1,
        "train_loss": progress.loss_sum / max(1, progress.images_in_epoch),
        **{f"val_{name}": value for name, value in values.items()},
        "lr": optimizer.param_groups[0]["lr"],
        "seconds": round(seconds, 3),
        "images_per_second": round(images_per_second, 2),
    }
    progress.history.append(row)
    if best is None or is_better(key, values[key], progress.best_value):
        best = copy_weights(model)
        progress.best_epoch, progress.best_value = progress.epoch + 1, values[key]
        progress.epochs_without_better = 0
    else:
        progress.epochs_without_better += 1
    progress.epoch += 1
    progress.step_in_epoch, progress.loss_sum, progress.images_in_epoch = 0, 0.0, 0
    stopped = train.patience is not None and progress.epochs_without_better >= train.patience
    progress.finished = stopped or progress.epoch >= train.epochs
    left = 0.0 if progress.finished else seconds * (train.epochs - progress.epoch)
    selected = "" if key == "loss" else f"  val {key} {_shown(values[key])}"
    log.info(
        "epoch %d/%d  train loss %.4f  val loss %s%s (best %s, epoch %d)  %.0f images/s  %s left",
        progress.epoch, train.epochs, row["train_loss"], _shown(values["loss"]), selected,
        _shown(progress.best_value), progress.best_epoch, images_per_second, _duration(left),
    )  # fmt: skip
    if stopped and progress.epoch < train.epochs:
        log.info("stopped: %d epochs without a better val %s", train.patience, key)
    return best


def _within_epoch(progress: Progress, setup: _Setup, seconds: float, images_before: int, epochs: int) -> str:
    rate = (progress.images_in_epoch - images_before) / max(seconds, 1e-9)
    return (
        f"epoch {progress.epoch + 1}/{epochs}, step {progress.step_in_epoch}/{setup.batches.num_batches}, "
        f"train loss {progress.loss_sum / max(1, progress.images_in_epoch):.4f}, {rate:.0f} images/s"
    )


def _shown(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
