"""What a step minimizes: the recipe's loss on all training images' targets, and what is added to it."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiron.core.registry import load_leaf
from chiron.engine.class_weights import class_weights
from chiron.engine.mixing import partners
from chiron.spec.labels import LabelSpace
from chiron.spec.train_recipe import TrainRecipe


@dataclass(frozen=True)
class Criterion:
    """A loss with its options, and the targets of all training images."""

    leaf: ModuleType  # of engine/losses
    options: dict[str, Any]
    class_weights: Tensor | None
    targets: Tensor
    on_host: tuple[Tensor, Tensor | None]  # targets and class weights on the CPU: counting there waits for no GPU
    classes: Tensor | None  # the class of every training image; None where one can have several
    positive_index: int | None  # of a network with one logit, whose z is that of this class

    def loss(
        self, logits: Float[Tensor, "n outputs"], index: Int[Tensor, "n"], *, own_share: float = 1.0
    ) -> Float[Tensor, ""]:
        """The mean over the images `index`; of mixed images the mean of both losses by their shares.

        Source of the second: Zhang et al. 2018, arXiv:1710.09412, section 2.
        """
        value = self._of(logits, self.targets[index])
        if own_share == 1.0:
            return value
        others = self.targets[index[partners(len(index)).to(index.device, non_blocking=True)]]
        return own_share * value + (1 - own_share) * self._of(logits, others)

    def _of(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.leaf.loss(logits, targets, self.class_weights, **self.options)

    def num_right(self, logits: Float[Tensor, "n outputs"], index: Int[Tensor, "n"]) -> Float[Tensor, ""]:
        """How many of the images `index` have their own class as the most probable one; NaN of several labels."""
        if self.classes is None:
            return logits.new_full((), torch.nan)
        if logits.shape[1] == 1:
            is_called = (logits[:, 0] > 0) == (self.classes[index] == self.positive_index)
        else:
            is_called = logits.argmax(1) == self.classes[index]
        return is_called.sum().to(torch.float32)

    def divisor(self, index: Int[Tensor, "n"]) -> float:
        """What the mean over the images `index` divides by: their number, or the sum of their weights.

        So the mean of a whole batch is the sum of its parts' means, each times its divisor over that of the whole.
        """
        targets, weights = self.on_host
        return float(self.leaf.divisor(targets[index], weights, **self.options))


def make_criterion(train: TrainRecipe, y_train: np.ndarray, labels: LabelSpace, device: torch.device) -> Criterion:
    """The loss with exactly the options that it takes, and the targets of all training images.

    Raises:
        SpecError: the loss does not fit the labels.
        DataError: class weights of a class without training images.
    """
    leaf = load_leaf("chiron.engine.losses", train.loss, kind="loss")
    weights = None
    if train.class_weights != "none":
        weights = class_weights(y_train, labels, train.class_weights, cap=train.class_weight_cap)
    targets = leaf.make_targets(torch.from_numpy(y_train), labels)
    return Criterion(
        leaf,
        {key: getattr(train, key) for key in leaf.OPTIONS},
        None if weights is None else weights.to(device),
        targets.to(device),
        (targets, weights),
        None if labels.is_multi_label else torch.from_numpy(y_train).to(device),
        labels.positive_index,
    )
