"""Everything that the loop needs, made from recipe and manifest; the loop itself is in fit.py."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from chiron.bundle import NetworkSpec, network_of
from chiron.classifier import Classifier, build_network
from chiron.core.registry import load_leaf
from chiron.data.cache import CachedImages
from chiron.data.dataset import EpochBatches, StoredImages, TrainingImages
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.engine.checkpoint import TrainingState
from chiron.engine.class_weights import class_weights
from chiron.engine.ema import WeightAverage
from chiron.engine.optimizers import make_optimizer
from chiron.engine.runtime import Runtime
from chiron.preprocess.finish import Finish
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe


@dataclass(frozen=True)
class Setup:
    """What stays the same from the first step to the last, and the state that does not."""

    state: TrainingState
    network_spec: NetworkSpec
    recipe: Recipe
    labels: LabelSpace
    runtime: Runtime
    finish: Finish
    loss: Callable[[Tensor, Tensor], Tensor]  # of (logits, targets), with the recipe's options in it
    targets: Tensor
    images: TrainingImages
    batches: EpochBatches
    val_images: StoredImages
    y_val: np.ndarray

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
) -> Setup:
    """The run at its first step.

    Args:
        cached: decoded images of the manifest, where there are any.
        resumes: a checkpoint replaces all weights, so that those of `model.init` need not be had again.

    Raises:
        SpecError: the loss does not fit the labels.
        DataError: class weights of a class without training images.
    """
    train_part = manifest.select("train")
    val_part = train_part if recipe.train.overfit_images is not None else manifest.select("val")
    source = ImageSource(manifest.root)
    network_spec = network_of(recipe.model)
    loss, targets = _loss(recipe, train_part.targets(labels.uncertain), labels, runtime.device)
    return Setup(
        state=_first_state(recipe, network_spec, labels, runtime.device, resumes=resumes),
        network_spec=network_spec,
        recipe=recipe,
        labels=labels,
        runtime=runtime,
        finish=Finish(recipe.input).to(runtime.device),
        loss=loss,
        targets=targets,
        images=TrainingImages(
            source,
            train_part.frame["path"].to_list(),
            recipe.input,
            sample_ids=train_part.frame["sample_id"].to_list(),
            recipe=recipe.augment,
            seed=recipe.train.seed,
            cached=cached,
        ),
        batches=EpochBatches(
            train_part.frame.height,
            recipe.train.batch_size,
            recipe.train.seed,
            balance=train_part.labels if recipe.train.sampler == "balanced" else None,
        ),
        val_images=StoredImages(source, val_part.frame["path"].to_list(), recipe.input, cached=cached),
        y_val=val_part.targets(labels.uncertain),
    )


def _first_state(
    recipe: Recipe, network_spec: NetworkSpec, labels: LabelSpace, device: torch.device, *, resumes: bool
) -> TrainingState:
    train = recipe.train
    init, weights = ("scratch", None) if resumes else (recipe.model.init, recipe.model.weights)
    model = build_network(network_spec, recipe.input, labels, init=init, weights=weights, seed=train.seed).to(device)
    average = None
    if train.ema_decay is not None:
        average = WeightAverage(model, decay=train.ema_decay, bias_correction=train.ema_bias_correction)
    # A parameter without gradient never gets a state of the optimizer, which a checkpoint would then lack.
    idle = getattr(model, "parameters_not_learned", ())
    learned = [parameter for name, parameter in model.named_parameters() if name not in idle]
    return TrainingState(model, make_optimizer(train, learned), average)


def _loss(
    recipe: Recipe, y_train: np.ndarray, labels: LabelSpace, device: torch.device
) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    """The loss with exactly the options that it takes, and the targets of all training images."""
    train = recipe.train
    leaf = load_leaf("chiron.engine.losses", train.loss, kind="loss")
    options = {key: getattr(train, key) for key in leaf.OPTIONS}
    if train.class_weights != "none":
        weights = class_weights(y_train, labels, train.class_weights, cap=train.class_weight_cap)
        options["class_weights"] = weights.to(device)
    return partial(leaf.loss, **options), leaf.make_targets(torch.from_numpy(y_train), labels).to(device)
