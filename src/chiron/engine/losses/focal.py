"""Focal loss of one true class among several: samples count less the surer the network is of them.

Source: Lin et al. 2017, arXiv:1708.02002, eq. 5, with the softmax probability of the true class as p_t.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiron.core.errors import SpecError
from chiron.spec.labels import LabelSpace

OPTIONS = ("focal_gamma",)  # keys of the recipe's train part; read without importing this


def make_targets(y_true: Int[Tensor, "n"] | Float[Tensor, "n classes"], labels: LabelSpace) -> Int[Tensor, "n"]:
    """The place of the true class in `labels.names`, which is what the loss takes."""
    if labels.kind != "single_label" or labels.one_logit:
        raise SpecError("train.loss focal needs one true class and a logit a class. Got another label space. Use bce.")
    return y_true


def loss(
    logits: Float[Tensor, "n classes"],
    targets: Int[Tensor, "n"],
    class_weights: Float[Tensor, "classes"] | None = None,
    *,
    focal_gamma: float = 2.0,
) -> Float[Tensor, ""]:
    """Mean over samples of -alpha_t (1 - p_t)^gamma log p_t, in nats.

    With gamma 0 it is cross-entropy with the weights of `label_smoothing_over: others`.

    Args:
        class_weights: alpha, one a class; the mean over samples stays plain, as in the paper.
        focal_gamma: how much sure samples lose; 0 leaves them all alike.
    """
    logs = logits.float().log_softmax(dim=1)
    true = targets[:, None]
    # log(1 - p_t) from the other classes: exact, and with a finite gradient, also where p_t is nearly 1
    log_others = logs.scatter(1, true, -torch.inf).logsumexp(dim=1)
    each = -(focal_gamma * log_others).exp() * logs.gather(1, true).squeeze(1)
    return (each if class_weights is None else each * class_weights[targets]).mean()


def divisor(
    targets: Int[Tensor, "n"], class_weights: Float[Tensor, "classes"] | None = None, *, focal_gamma: float = 2.0
) -> float:
    """What the mean of `loss` divides by: the number of samples."""
    return float(len(targets))
