"""What losses share that ask a question a logit: targets of 0, 1 or NaN, and what each of them weighs."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiron.core.errors import SpecError
from chiron.spec.labels import LabelSpace


def targets_per_logit(
    y_true: Int[Tensor, "n"] | Float[Tensor, "n classes"], labels: LabelSpace, *, loss: str
) -> Float[Tensor, "n outputs"]:
    """0, 1 or NaN (not assessed) a logit; for one logit 1 means the positive class.

    Raises:
        SpecError: one class of several excludes the others, and has a logit of its own.
    """
    if labels.kind == "multi_label":
        return y_true.float()
    if not labels.one_logit:
        raise SpecError(
            f"train.loss {loss} needs labels.one_logit or several labels an image. Got neither. Use cross_entropy."
        )
    positive = labels.positive_index or 0  # a one-logit label space always has one
    return torch.eq(y_true, positive).float()[:, None]


def without_gaps(targets: Float[Tensor, "n outputs"]) -> Float[Tensor, "n outputs"]:
    """The targets with 0 where nothing was assessed: finite numbers, whose weight is 0."""
    return torch.where(torch.isnan(targets), 0.0, targets)


def weight_of(
    targets: Float[Tensor, "n outputs"], class_weights: Float[Tensor, "two"] | Float[Tensor, "two outputs"] | None
) -> Float[Tensor, "n outputs"]:
    """What each label counts: nothing where it was not assessed, else 1 or the weight of its value."""
    assessed = (~torch.isnan(targets)).float()
    if class_weights is None:
        return assessed
    return assessed * torch.where(targets == 1, class_weights[1], class_weights[0])


def weighted_mean(each: Float[Tensor, "n outputs"], weight: Float[Tensor, "n outputs"]) -> Float[Tensor, ""]:
    """The mean by weight; 0 where nothing weighs anything."""
    return (each * weight).sum() / weight.sum().clamp_min(torch.finfo(torch.float32).tiny)
