"""Binary cross-entropy a logit: one logit for two classes, or a logit a class where several may be true."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from chiron.core.errors import SpecError
from chiron.spec.labels import LabelSpace

OPTIONS = ()  # keys of the recipe's train part; read without importing this
SEVERAL_LABELS = True  # fits images that can have several classes or none; read without importing this


def make_targets(
    y_true: Int[Tensor, "n"] | Float[Tensor, "n classes"], labels: LabelSpace
) -> Float[Tensor, "n outputs"]:
    """0, 1 or NaN (not assessed) a logit; for one logit 1 means the positive class."""
    if labels.kind == "multi_label":
        return y_true.float()
    if not labels.one_logit:
        raise SpecError(
            "train.loss bce needs labels.one_logit or several labels an image. Got neither. Use cross_entropy."
        )
    positive = labels.positive_index or 0  # a one-logit label space always has one
    return torch.eq(y_true, positive).float()[:, None]


def loss(
    logits: Float[Tensor, "n outputs"],
    targets: Float[Tensor, "n outputs"],
    class_weights: Float[Tensor, "two"] | Float[Tensor, "two outputs"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over assessed labels, in nats.

    Args:
        class_weights: of the labels 0 and 1, for all logits or a column a logit; the mean is weighted by them.
    """
    each = functional.binary_cross_entropy_with_logits(
        logits.float(), torch.where(torch.isnan(targets), 0.0, targets), reduction="none"
    )
    weight = _weight(targets, class_weights)
    return (each * weight).sum() / weight.sum().clamp_min(torch.finfo(torch.float32).tiny)


def divisor(
    targets: Float[Tensor, "n outputs"],
    class_weights: Float[Tensor, "two"] | Float[Tensor, "two outputs"] | None = None,
) -> float:
    """What the mean of `loss` divides by: the sum of the assessed labels' weights."""
    return float(_weight(targets, class_weights).sum())


def _weight(targets: Float[Tensor, "n outputs"], class_weights: Tensor | None) -> Float[Tensor, "n outputs"]:
    assessed = (~torch.isnan(targets)).float()
    return (
        assessed if class_weights is None else assessed * torch.where(targets == 1, class_weights[1], class_weights[0])
    )
