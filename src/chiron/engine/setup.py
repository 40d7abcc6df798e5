"""Everything that the loop needs, made from recipe and manifest; the loop itself is in fit.py."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from chiron.classifier import Classifier, build_network
from chiron.data.cache import CachedImages
from chiron.data.dataset import EpochBatches, StoredImages, TrainingImages
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.engine.auxiliary import AuxiliaryLosses, make_auxiliary
from chiron.engine.checkpoint import TrainingState
from chiron.engine.compute import ComputeMode
from chiron.engine.criterion import Criterion, make_criterion
from chiron.engine.ema import WeightAverage
from chiron.engine.freezing import apply_freezing, tell_trainable
from chiron.engine.measure import choose_mode
from chiron.engine.memory import first_parts, largest_part, use_grad_checkpointing
from chiron.engine.mixing import cut_in_pairs
from chiron.engine.optimizers import make_optimizer
from chiron.engine.processes import World
from chiron.engine.runtime import Runtime
from chiron.engine.scoring import scoring_loader
from chiron.engine.sharding import is_sharded, shard, whole_tensor
from chiron.preprocess.finish import Finish
from chiron.spec.bundle_spec import NetworkSpec, network_of
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")
_STAND_IN = slice(0, 2)  # images of the first process, for one that has none of its own


@dataclass
class Setup:
    """What stays the same from the first step to the last, and the state that does not."""

    state: TrainingState
    stepped: nn.Module  # the model as steps call it: compiled, in several processes; from the first epoch on
    mode: ComputeMode
    micro_batches: int  # parts of the first step
    network_spec: NetworkSpec
    recipe: Recipe
    labels: LabelSpace
    runtime: Runtime
    finish: Finish
    criterion: Criterion
    auxiliary: AuxiliaryLosses
    images: TrainingImages
    batches: EpochBatches
    val_images: StoredImages
    val_loader: DataLoader
    y_val: np.ndarray
    is_prepared: bool = False
    lap: Callable[[str], None] = lambda part: None  # told when a part of a step is over; `chiron bench` listens

    def begin_epoch(self) -> None:
        """Chooses the epoch's batches, and which parameters learn in it."""
        progress, model = self.state.progress, self.state.model
        self.batches.begin(progress.epoch, progress.step_in_epoch)
        changed = apply_freezing(model, self.recipe.train.freeze, progress.epoch)
        if changed or not self.is_prepared:  # a wrapper knows for good which parameters learn
            self.stepped = self.runtime.world.wrap(self.mode.prepare(self.auxiliary.as_called(model)))
            self.is_prepared = True
            tell_trainable(model)

    def own_part(self, count: int) -> slice | None:
        """The places of a batch of so many images that this process works on; None where there are too few for all.

        It then takes part with images of others, which count nothing: every process must exchange its gradients.
        """
        return own_part(count, self.runtime.world)

    def num_parts(self, count: int) -> int:
        """In how many parts each process computes a batch of so many images: as many in all, at least one pair each."""
        return min(self.state.progress.micro_batches, max(1, count // 2 // self.runtime.world.size))

    def whole(self, network: nn.Module) -> nn.Module:
        """The network itself, or of one that is sharded a copy that is not; all processes call this."""
        if not is_sharded(network):
            return network
        copy = build_network(self.network_spec, self.recipe.input, self.labels).to(self.runtime.device)
        copy.load_state_dict({name: whole_tensor(tensor) for name, tensor in network.state_dict().items()})
        return copy

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
    num_images: int | None = None,
) -> Setup:
    """The run at its first step.

    Args:
        cached: decoded images of the manifest, where there are any.
        resumes: a checkpoint replaces all weights, so that those of `model.init` need not be had again.
        mode: how a run that is resumed computed before; else the recipe says, or a measurement.
        num_images: of all epochs, by which a measurement pays or not; by default those of this run.

    Raises:
        SpecError: the loss does not fit the labels, or an auxiliary one the network.
        DataError: class weights of a class without training images.
        EngineError: not even two images fit in memory.
    """
    train = recipe.train
    train_part = manifest.select("train")
    val_part = train_part if train.overfit_images is not None else manifest.select("val")
    source, world = ImageSource(manifest.root), runtime.world
    network_spec = network_of(recipe.model)
    model = _first_model(recipe, network_spec, labels, runtime.device, resumes=resumes)
    auxiliary = make_auxiliary(train, model)
    if train.grad_checkpointing:
        use_grad_checkpointing(model, recipe.model.name)
    batches = EpochBatches(
        train_part.frame.height,
        train.batch_size,
        train.seed,
        balance=train_part.labels if train.sampler == "balanced" else None,
        drop_last=train.drop_last,
        part=None if world.size == 1 else lambda count: own_part(count, world) or _STAND_IN,
        max_batches=train.sanity_steps,
    )
    parts = 1 if resumes else first_parts(recipe, model, runtime)  # a checkpoint knows them
    mode = mode or choose_mode(
        recipe,
        model,
        runtime,
        num_images=num_images or min(train_part.frame.height, batches.num_batches * train.batch_size) * train.epochs,
        part=largest_part(min(train.batch_size, train_part.frame.height), parts, world.size),
    )
    model = world.prepare(model)  # only now: one process that tries or times steps waits for no other
    runtime.forget_memory_peak()
    if not (train.shard and world.size > 1):  # which takes weights as they lie
        mode.lay_out_weights(model)
    average = None
    if train.ema_decay is not None:
        average = WeightAverage(model, decay=train.ema_decay, bias_correction=train.ema_bias_correction)
    if train.shard and world.size > 1:
        for network in [model] if average is None else [model, average.network]:
            shard(network, world.size)
    val_images = StoredImages(source, val_part.frame["path"].to_list(), recipe.input, cached=cached)
    return Setup(
        state=TrainingState(model, make_optimizer(train, model), mode.make_scaler(runtime.device), average),
        stepped=model,
        mode=mode,
        micro_batches=parts,
        network_spec=network_spec,
        recipe=recipe,
        labels=labels,
        runtime=runtime,
        finish=Finish(recipe.input).to(runtime.device),
        criterion=make_criterion(train, train_part.targets(labels.uncertain), labels, runtime.device),
        auxiliary=auxiliary,
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
        val_images=val_images,
        val_loader=scoring_loader(val_images, runtime, batch_size=train.batch_size),
        y_val=val_part.targets(labels.uncertain),
    )


def own_part(count: int, world: World) -> slice | None:
    """See `Setup.own_part`."""
    parts = cut_in_pairs(count, world.size)
    return parts[world.rank] if world.rank < len(parts) else None


def _first_model(
    recipe: Recipe, network_spec: NetworkSpec, labels: LabelSpace, device: torch.device, *, resumes: bool
) -> nn.Module:
    init, weights = ("scratch", None) if resumes else (recipe.model.init, recipe.model.weights)
    model = build_network(network_spec, recipe.input, labels, init=init, weights=weights, seed=recipe.train.seed)
    return model.to(device)
