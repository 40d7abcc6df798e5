"""Asymmetric loss a logit: absent labels, the many, count less the surer the network is of them.

With both gammas and the shift 0 it is binary cross-entropy.
Source: Ridnik et al. 2021, arXiv:2009.14119, eqs. 4 to 7. The paper sums over classes; here it is the mean over
assessed labels, so that a class that was not assessed changes no rate.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from chiron.engine.losses._per_logit import targets_per_logit, weight_of, weighted_mean
from chiron.spec.labels import LabelSpace

# keys of the recipe's train part; read without importing this
OPTIONS = ("asymmetric_gamma_pos", "asymmetric_gamma_neg", "asymmetric_shift")
# a question a logit: for several classes or none an image, or one logit for two; read without importing this
SEVERAL_LABELS = True


def make_targets(
    y_true: Int[Tensor, "n"] | Float[Tensor, "n classes"], labels: LabelSpace
) -> Float[Tensor, "n outputs"]:
    """0, 1 or NaN (not assessed) a logit; for one logit 1 means the positive class."""
    return targets_per_logit(y_true, labels, loss="asymmetric")


def loss(
    logits: Float[Tensor, "n outputs"],
    targets: Float[Tensor, "n outputs"],
    class_weights: Float[Tensor, "two"] | Float[Tensor, "two outputs"] | None = None,
    *,
    asymmetric_gamma_pos: float = 0.0,
    asymmetric_gamma_neg: float = 4.0,
    asymmetric_shift: float = 0.05,
) -> Float[Tensor, ""]:
    """Mean over assessed labels, in nats.

    With p the probability and m the shift, a present label costs -(1 - p)^gamma_pos log p, an absent one
    -q^gamma_neg log(1 - q) with q = max(p - m, 0).

    Args:
        class_weights: of the labels 0 and 1, for all logits or a column a logit; the mean is weighted by them.
    """
    logits = logits.float()
    present = -(asymmetric_gamma_pos * functional.logsigmoid(-logits)).exp() * functional.logsigmoid(logits)
    absent = _absent(logits, gamma=asymmetric_gamma_neg, shift=asymmetric_shift)
    return weighted_mean(torch.where(targets == 1, present, absent), weight_of(targets, class_weights))


def _absent(logits: Float[Tensor, "n outputs"], *, gamma: float, shift: float) -> Float[Tensor, "n outputs"]:
    shifted = logits.sigmoid() - shift
    counted = shifted > torch.finfo(torch.float32).tiny
    base = torch.where(counted, shifted, 0.5)  # where nothing counts, a gradient of 0^gamma would be no number
    # log(1 - p + m), exact also where p is nearly 1
    log_rest = torch.logaddexp(
        functional.logsigmoid(-logits), logits.new_tensor(math.log(shift) if shift else -torch.inf)
    )
    return torch.where(counted, -base.pow(gamma) * log_rest, 0.0)


def divisor(
    targets: Float[Tensor, "n outputs"],
    class_weights: Float[Tensor, "two"] | Float[Tensor, "two outputs"] | None = None,
    *,
    asymmetric_gamma_pos: float = 0.0,
    asymmetric_gamma_neg: float = 4.0,
    asymmetric_shift: float = 0.05,
) -> float:
    """What the mean of `loss` divides by: the sum of the assessed labels' weights."""
    return float(weight_of(targets, class_weights).sum())
