"""Losses beside that of the classes: on the mask that a network draws itself, and on where its attention lies.

Both compare with the mask that the network was given, and both are plain means over images, so that a batch may be cut
into parts. Nothing of them is computed where their weight is 0.
Source: the README of HybridLungViT, CE + LAMBDA_SEG (BCE + Dice) / 2 + LAMBDA_ATT attn_reg. Dice: Milletari et al.
2016, arXiv:1606.04797, without its squares and with 1 above and below against empty masks. The form of the attention's
loss is ours: the README has no formula.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from chiron.core.errors import SpecError
from chiron.models.outputs import ModelOutput
from chiron.spec.train_recipe import TrainRecipe

_LEAST_COVERAGE = 1e-3  # of a token outside of the mask: attention there is dear, not infinitely dear

# What a network must have for a loss of each kind, and what that shows.
_NEEDED = {
    "segmentation": ("set_mask_learning", "own mask"),
    "attention": ("mask_coverage", "tokens' places in the mask"),
}


class NamedOutputs(nn.Module):
    """A network whose forward gives the ModelOutput: logits and those parts that a loss is computed from, no others.

    A part that no loss reads would make several processes wait for gradients that never come.
    """

    def __init__(self, model: nn.Module, kinds: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.kinds = model, kinds

    def forward(self, *inputs: Tensor) -> ModelOutput:
        """The logits, with the attention and the mask's logits where they are asked for."""
        output: ModelOutput = self.model.forward_named(*inputs)  # type: ignore[operator]
        return ModelOutput(
            output.logits,
            attn=output.attn[-1:] if "attention" in self.kinds else (),
            mask_logits=output.mask_logits if "segmentation" in self.kinds else None,
        )


@dataclass(frozen=True)
class AuxiliaryLosses:
    """The auxiliary losses of a recipe, which are often none."""

    weights: dict[str, float]  # of those that are not 0: segmentation, attention
    mask_coverage: Callable[[Tensor], Tensor] | None = None  # of the network, where attention has a weight

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the losses, in the order of `measure`."""
        return tuple(self.weights)

    def as_called(self, model: nn.Module) -> nn.Module:
        """The network as steps call it: itself, or with the outputs that the losses read."""
        return NamedOutputs(model, self.kinds) if self.weights else model

    def measure(self, output: Tensor | ModelOutput, *masks: Tensor) -> tuple[Tensor, Float[Tensor, "kinds"]]:
        """The logits, and the mean over images of each loss, before its weight."""
        if not isinstance(output, ModelOutput):
            return output, torch.zeros(0, device=output.device)
        values = []
        if "segmentation" in self.weights:
            assert output.mask_logits is not None  # NamedOutputs keeps it
            values.append(segmentation_loss(output.mask_logits, masks[0]))
        if self.mask_coverage is not None:
            shares = output.attn[-1].mean(dim=(1, 2))  # over heads and queries
            values.append(attention_loss(shares, self.mask_coverage(masks[0])))
        return output.logits, torch.stack(values)

    def weighted(self, values: Float[Tensor, "kinds"]) -> Float[Tensor, ""]:
        """What is added to the loss of the classes."""
        return (values * values.new_tensor(list(self.weights.values()))).sum()


def segmentation_loss(mask_logits: Float[Tensor, "n 1 h w"], mask: Float[Tensor, "n 1 h w"]) -> Float[Tensor, ""]:
    """(Binary cross-entropy + soft Dice loss) / 2, each taken of an image's pixels; mean over images."""
    mask_logits = mask_logits.float()  # whatever the precision of the step
    bce = functional.binary_cross_entropy_with_logits(mask_logits, mask)
    probs = mask_logits.sigmoid()
    both, either = (probs * mask).sum(dim=(1, 2, 3)), (probs + mask).sum(dim=(1, 2, 3))
    dice = 1 - (2 * both + 1) / (either + 1)
    return 0.5 * bce + 0.5 * dice.mean()


def attention_loss(attn: Float[Tensor, "n tokens"], coverage: Float[Tensor, "n tokens"]) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence of the attention from the masks' shares of the tokens, in nats; mean over images.

    Args:
        attn: weights over the tokens, which sum to 1.
        coverage: share of each token's place that the mask covers. A token outside counts as a thousandth, so that the
            divergence is finite; an empty mask asks for equal attention to all tokens.
    """
    wanted = coverage.clamp(min=_LEAST_COVERAGE)
    wanted = wanted / wanted.sum(dim=1, keepdim=True)
    attn = attn.float().clamp(min=torch.finfo(torch.float32).tiny)  # the gradient of 0 log 0 would be no number
    return (attn * (attn.log() - wanted.log())).sum(dim=1).mean()


def make_auxiliary(train: TrainRecipe, model: nn.Module) -> AuxiliaryLosses:
    """The losses that the recipe gives a weight; the model learns its mask's head when one of them is on the mask.

    Call it before the optimizer is made.

    Raises:
        SpecError: the network has not the outputs that they need.
    """
    require_outputs(train, model)
    weights, network = _wanted(train), cast(Any, model)  # no type of torch describes its further methods
    if "segmentation" in weights:
        network.set_mask_learning()
    return AuxiliaryLosses(weights, network.mask_coverage if "attention" in weights else None)


def require_outputs(train: TrainRecipe, model: nn.Module) -> None:
    """Stops where a loss has a weight and the network not what it is computed from.

    Raises:
        SpecError: with the key.
    """
    for kind in _wanted(train):
        method, shown = _NEEDED[kind]
        if not hasattr(model, method):
            raise SpecError(
                f"train.{kind}_weight needs a network that shows its {shown}, as chiron_hybrid_lung_vit does. "
                f"Got {type(model).__name__}. Leave train.{kind}_weight out."
            )


def _wanted(train: TrainRecipe) -> dict[str, float]:
    weights = {"segmentation": train.segmentation_weight, "attention": train.attention_weight}
    return {kind: weight for kind, weight in weights.items() if weight > 0}
