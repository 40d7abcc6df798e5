"""Everything that the loop needs, made from recipe and manifest; the loop itself is in fit.py."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from chiron.bundle import NetworkSpec, network_of
from chiron.classifier import Classifier, build_network
from chiron.data.cache import CachedImages
from chiron.data.dataset import EpochBatches, StoredImages, TrainingImages
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.engine.checkpoint import TrainingState
from chiron.engine.compute import ComputeMode
from chiron.engine.criterion import Criterion, make_criterion
from chiron.engine.ema import WeightAverage
from chiron.engine.freezing import apply_freezing, tell_trainable
from chiron.engine.measure import choose_mode
from chiron.engine.memory import first_parts, largest_part, use_grad_checkpointing
from chiron.engine.mixing import cut_in_pairs
from chiron.engine.optimizers import make_optimizer
from chiron.engine.runtime import Runtime
from chiron.preprocess.finish import Finish
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")


@dataclass
class Setup:
    """What stays the same from the first step to the last, and the state that does not."""

    state: TrainingState
    stepped: nn.Module  # the model as steps call it: compiled, in several processes
    mode: ComputeMode
    micro_batches: int  # parts of the first step
    network_spec: NetworkSpec
    recipe: Recipe
    labels: LabelSpace
    runtime: Runtime
    finish: Finish
    criterion: Criterion
    images: TrainingImages
    batches: EpochBatches
    val_images: StoredImages
    y_val: np.ndarray

    def begin_epoch(self) -> None:
        """Chooses the epoch's batches, and which parameters learn in it."""
        progress, model = self.state.progress, self.state.model
        self.batches.begin(progress.epoch, progress.step_in_epoch)
        if apply_freezing(model, self.recipe.train.freeze, progress.epoch):
            self.stepped = self.runtime.world.wrap(self.mode.prepare(model))
            tell_trainable(model)

    def classifier_of(self, network: nn.Module) -> Classifier:
        """The road from stored pixels to fp32 scores by `network`."""
        return Classifier(
            [network], network_spec=self.network_spec, input_spec=self.recipe.input, labels=self.labels
        ).to(self.runtime.device)

    def average_now(self) -> WeightAverage | None:
        """The average of the weights, in the epochs in which there is one."""
        return self.state.average if self.state.progress.epoch >= self.recipe.train.ema_from_epoch else None


def set_up(
    recipe: Recipe,
    manifest: Manifest,
    labels: LabelSpace,
    runtime: Runtime,
    cached: CachedImages | None = None,
    *,
    resumes: bool = False,
    mode: ComputeMode | None = None,
) -> Setup:
    """The run at its first step.

    Args:
        cached: decoded images of the manifest, where there are any.
        resumes: a checkpoint replaces all weights, so that those of `model.init` need not be had again.
        mode: how a run that is resumed computed before; else the recipe says, or a measurement.

    Raises:
        SpecError: the loss does not fit the labels.
        DataError: class weights of a class without training images.
        EngineError: not even two images fit in memory.
    """
    train = recipe.train
    train_part = manifest.select("train")
    val_part = train_part if train.overfit_images is not None else manifest.select("val")
    source, world = ImageSource(manifest.root), runtime.world
    network_spec = network_of(recipe.model)
    model = _first_model(recipe, network_spec, labels, runtime.device, resumes=resumes)
    if train.grad_checkpointing:
        use_grad_checkpointing(model, recipe.model.name)
    batches = EpochBatches(
        train_part.frame.height,
        train.batch_size,
        train.seed,
        balance=train_part.labels if train.sampler == "balanced" else None,
        drop_last=train.drop_last,
        part=None if world.size == 1 else lambda count: cut_in_pairs(count, world.size)[world.rank],
        max_batches=train.sanity_steps,
    )
    parts = 1 if resumes else first_parts(recipe, model, runtime)  # a checkpoint knows them
    mode = mode or choose_mode(
        recipe,
        model,
        runtime,
        num_images=min(train_part.frame.height, batches.num_batches * train.batch_size) * train.epochs,
        part=largest_part(min(train.batch_size, train_part.frame.height), parts, world.size),
    )
    runtime.forget_memory_peak()
    average = None
    if train.ema_decay is not None:
        average = WeightAverage(model, decay=train.ema_decay, bias_correction=train.ema_bias_correction)
    return Setup(
        state=TrainingState(model, make_optimizer(train, model), mode.make_scaler(runtime.device), average),
        stepped=world.wrap(mode.prepare(model)),
        mode=mode,
        micro_batches=parts,
        network_spec=network_spec,
        recipe=recipe,
        labels=labels,
        runtime=runtime,
        finish=Finish(recipe.input).to(runtime.device),
        criterion=make_criterion(train, train_part.targets(labels.uncertain), labels, runtime.device),
        images=TrainingImages(
            source,
            train_part.frame["path"].to_list(),
            recipe.input,
            sample_ids=train_part.frame["sample_id"].to_list(),
            recipe=recipe.augment,
            seed=train.seed,
            cached=cached,
        ),
        batches=batches,
        val_images=StoredImages(source, val_part.frame["path"].to_list(), recipe.input, cached=cached),
        y_val=val_part.targets(labels.uncertain),
    )


def _first_model(
    recipe: Recipe, network_spec: NetworkSpec, labels: LabelSpace, device: torch.device, *, resumes: bool
) -> nn.Module:
    init, weights = ("scratch", None) if resumes else (recipe.model.init, recipe.model.weights)
    model = build_network(network_spec, recipe.input, labels, init=init, weights=weights, seed=recipe.train.seed)
    return model.to(device)
