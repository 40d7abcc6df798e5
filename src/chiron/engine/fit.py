"""The training loop, written out. Reads from top to bottom: set up, resume, epochs, steps, selection, stop."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from chiron.core.errors import EngineError
from chiron.core.hashing import sha256_json
from chiron.data.cache import CachedImages
from chiron.data.manifest import Manifest
from chiron.decide.probabilities import sigmoid, softmax
from chiron.engine.checkpoint import (
    Checkpoints,
    Progress,
    copy_weights,
    list_checkpoints,
    load_checkpoint,
    resume_setting,
    stored_setting,
)
from chiron.engine.compute import parse_mode
from chiron.engine.ema import WeightAverage
from chiron.engine.epoch_log import open_log
from chiron.engine.failures import await_second_report, clear_failures
from chiron.engine.history import Pace, epoch_line, epoch_row, step_line
from chiron.engine.interruption import Interruption
from chiron.engine.loading import TrainingLoader
from chiron.engine.runtime import Runtime
from chiron.engine.scoring import score_images
from chiron.engine.selection import note_value, reason_to_stop, selection_metrics
from chiron.engine.setup import Setup, set_up
from chiron.engine.step import rate_now, take_step
from chiron.engine.step_results import StepResults
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import WeightsOrigin
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")


@dataclass(frozen=True)
class Fitted:
    """The network with its best weights, and how it came to them."""

    network: nn.Module
    network_spec: NetworkSpec
    progress: Progress

    @property
    def weights_origin(self) -> WeightsOrigin | None:
        """What was loaded before the first step, also of a run that was resumed; None where all was drawn."""
        return None if self.progress.weights is None else WeightsOrigin(**self.progress.weights)


def fit(
    recipe: Recipe,
    manifest: Manifest,
    labels: LabelSpace,
    *,
    checkpoints: Path | None,
    runtime: Runtime,
    on_epoch: Callable[[list[dict[str, Any]]], None],
    cached: CachedImages | None = None,
    logs: Path | None = None,
) -> Fitted:
    """Trains on the train split, selects on val, and continues from the newest checkpoint where there is one.

    The weights are a function of recipe, manifest, thread count, precision and library versions: a run that was
    killed and resumed ends with the same bytes. From epoch `ema_from_epoch` on the averaged weights, where there is an
    average, are the ones that are validated and chosen. With `overfit_images` the train split is its own val.

    Args:
        checkpoints: the folder for them; None keeps none, and the run cannot be resumed.
        on_epoch: gets the whole history after every epoch.
        cached: decoded images of the manifest; the weights are the same without them.
        logs: the folder for the recipe's loggers, which change no weight; None for none.
    Raises:
        EngineError: the loss is not finite, memory runs out, a checkpoint is damaged, or a logger fails.
        DataError: the recipe asks for class weights, and a class has no training image.
        OutputError: a checkpoint cannot be written.
    """
    before = {} if checkpoints is None else stored_setting(checkpoints)
    mode = parse_mode(before["precision"]) if before else None
    setup = set_up(recipe, manifest, labels, runtime, cached, resumes=bool(before), mode=mode)
    _resume(setup, checkpoints, manifest)
    state, progress = setup.state, setup.state.progress
    loader = TrainingLoader(setup.images, setup.batches, runtime)
    keeper = Checkpoints(checkpoints if runtime.world.is_main else None, recipe.train)
    logs = logs if runtime.world.is_main else None
    with clear_failures(), open_log(recipe, logs, first_epoch=progress.epoch + 1) as epoch_log:
        try:
            with Interruption(resumable=checkpoints is not None, agree=runtime.world.any) as interruption:
                while not progress.finished:
                    average = setup.average_now()
                    pace = _train_epoch(setup, loader, average, keeper, interruption)
                    network = state.model if average is None else average.network
                    values = _validate(setup, network)
                    _close_epoch(setup, network, values, pace)
                    on_epoch(progress.history)
                    epoch_log.tell(setup, network)
                    keeper.save(state)
                    interruption.stop_if_wanted()
        except (ConnectionError, EOFError):
            await_second_report()
            raise
    assert state.best is not None  # the first epoch always becomes the best so far
    best = setup.whole(state.model)
    best.load_state_dict(state.best)
    return Fitted(best.eval(), setup.network_spec, progress)


def _train_epoch(
    setup: Setup, loader: TrainingLoader, average: WeightAverage | None, keeper: Checkpoints, interruption: Interruption
) -> Pace:
    """The steps of one epoch, or what is left of them after resuming."""
    state, progress = setup.state, setup.state.progress
    setup.begin_epoch()
    pace = Pace(progress, num_batches=setup.batches.num_batches)
    results = StepResults(state, setup.runtime.device, setup.auxiliary.kinds)
    for pixels, index in loader:
        result = take_step(setup, pixels, index)
        results.add(result)
        if average is not None:
            progress.ema_updates += 1
            average.update(state.model, progress.ema_updates)
        progress.images_in_epoch += result.count
        progress.step_in_epoch += 1
        if pace.time_to_tell():
            results.read()
            log.info("%s", step_line(setup.recipe.train, progress, pace, num_batches=setup.batches.num_batches))
        if setup.runtime.world.any(interruption.wanted or keeper.is_due(progress)):
            results.read()
            keeper.save(state)
            interruption.stop_if_wanted()
    results.read()
    pace.measure()
    return pace


def _close_epoch(setup: Setup, network: nn.Module, values: dict[str, float | None], pace: Pace) -> None:
    """Writes the epoch into the history, keeps the weights if they are the best, and decides whether to stop."""
    state, progress, train = setup.state, setup.state.progress, setup.recipe.train
    progress.history.append(epoch_row(progress, values, pace, lr=rate_now(setup)))
    if note_value(progress, train, values[train.select_by]):
        state.best = copy_weights(network)
    progress.begin_next_epoch()
    reason = reason_to_stop(train, progress, values)
    progress.finished = reason is not None or progress.epoch >= train.epochs
    log.info("%s", epoch_line(train, progress))
    if reason is not None and progress.epoch < train.epochs:
        log.info("stopped: %s", reason)


def _resume(setup: Setup, checkpoints: Path | None, manifest: Manifest) -> None:
    """Brings the state to where the newest checkpoint stands, or notes what this run is when there is none."""
    runtime, state = setup.runtime, setup.state
    setting = resume_setting(
        torch.get_num_threads(),
        str(setup.mode),
        runtime.device,
        runtime.world.size,
        augments_batches=runtime.augments_batches,
    )
    recipe, data = sha256_json(setup.recipe.model_dump(mode="json")), manifest.digest
    found = list_checkpoints(checkpoints) if checkpoints is not None else []
    if not found:
        state.progress = Progress(
            setting=setting,
            recipe=recipe,
            data=data,
            weights=_tell_weights(state.model),
            micro_batches=setup.micro_batches,
        )
        return
    load_checkpoint(found[-1], state)
    progress = state.progress
    if (progress.recipe, progress.data) != (recipe, data):
        what = "recipe.yaml" if progress.recipe != recipe else "manifest.csv"
        raise EngineError(
            f"A resumed run must keep its recipe and manifest. Got a changed {what}. Put it back, or start a new run."
        )
    before = progress.setting
    changed = [f"{key} {before.get(key)} -> {setting[key]}" for key in setting if before.get(key) != setting[key]]
    if changed:
        log.warning("resumed, not byte-equal to an uninterrupted run: %s", ", ".join(changed))
    log.info("resumed at epoch %d, step %d", progress.epoch + 1, progress.step_in_epoch)


def _tell_weights(model: nn.Module) -> dict[str, Any] | None:
    """One line of what was loaded, where anything was."""
    origin = getattr(model, "weights_origin", None)
    if origin is None:
        return None
    log.info("weights: %s", origin.describe())
    if origin.is_noncommercial:
        log.warning(
            "warning: the license of the first weights (%s) forbids commercial use, which holds for what is trained "
            "from them.",
            origin.license,
        )
    return origin.model_dump(mode="json")


def _validate(setup: Setup, network: nn.Module) -> dict[str, float | None]:
    setup.runtime.world.share_buffers(network)
    classifier = setup.classifier_of(setup.whole(network).eval())
    batch_size = setup.recipe.train.batch_size
    logits = score_images(classifier, setup.val_images, setup.runtime, batch_size=batch_size, loader=setup.val_loader)
    probabilities = sigmoid if setup.labels.is_multi_label else softmax
    y_prob = probabilities(logits.astype(np.float64))
    values = selection_metrics(setup.y_val, y_prob, setup.labels, setup.recipe.train.select_by)
    return setup.runtime.world.of_main(values)
