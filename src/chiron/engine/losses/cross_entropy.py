"""Cross-entropy of one true class among several, with or without label smoothing."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from chiron.core.errors import SpecError
from chiron.spec.labels import LabelSpace

OPTIONS = ("label_smoothing", "label_smoothing_over")  # keys of the recipe's train part; read without importing this


def make_targets(y_true: Int[Tensor, "n"] | Float[Tensor, "n classes"], labels: LabelSpace) -> Int[Tensor, "n"]:
    """The place of the true class in `labels.names`, which is what the loss takes."""
    if labels.kind != "single_label" or labels.one_logit:
        raise SpecError(
            "train.loss cross_entropy needs one true class and a logit a class. Got another label space. Use bce."
        )
    return y_true


def loss(
    logits: Float[Tensor, "n classes"],
    targets: Int[Tensor, "n"],
    class_weights: Float[Tensor, "classes"] | None = None,
    *,
    label_smoothing: float = 0.0,
    label_smoothing_over: Literal["all", "others"] = "all",
) -> Float[Tensor, ""]:
    """Mean over samples, in nats.

    Args:
        class_weights: with `all` the mean is weighted by the weight of the true class; with `others` every class's
            term has its weight and the mean over samples is plain, also when `label_smoothing` is 0.
        label_smoothing: the share eps of the target that is spread.
        label_smoothing_over: `all`: the true class gets 1 - eps + eps / C, every other eps / C, as in torch;
            `others`: the true class gets 1 - eps, every other eps / (C - 1).
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7; `all` is torch.nn.functional.cross_entropy.
    """
    logits = logits.float()  # whatever the precision of the step: softmax in bf16 loses small losses
    if label_smoothing_over == "all":
        return functional.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)
    spread = torch.full_like(logits, label_smoothing / (logits.shape[1] - 1))
    wanted = spread.scatter(1, targets[:, None], 1 - label_smoothing)
    if class_weights is not None:
        wanted = wanted * class_weights
    return -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()


def divisor(
    targets: Int[Tensor, "n"],
    class_weights: Float[Tensor, "classes"] | None = None,
    *,
    label_smoothing: float = 0.0,
    label_smoothing_over: Literal["all", "others"] = "all",
) -> float:
    """What the mean of `loss` divides by: the sum of the true classes' weights, or the number of samples."""
    if class_weights is None or label_smoothing_over == "others":
        return float(len(targets))
    return float(class_weights[targets].sum())
