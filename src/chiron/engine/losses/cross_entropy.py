"""Cross-entropy of one true class among several."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from chiron.core.errors import SpecError
from chiron.spec.labels import LabelSpace


def make_targets(y_true: Int[Tensor, "n"] | Float[Tensor, "n classes"], labels: LabelSpace) -> Int[Tensor, "n"]:
    """The place of the true class in `labels.names`, which is what the loss takes."""
    if labels.kind != "single_label" or labels.one_logit:
        raise SpecError(
            "train.loss cross_entropy needs one true class and a logit a class. Got another label space. Use bce."
        )
    return y_true


def loss(
    logits: Float[Tensor, "n classes"], targets: Int[Tensor, "n"], class_weights: Float[Tensor, "classes"] | None = None
) -> Float[Tensor, ""]:
    """Mean over samples, in nats; with weights the mean weighted by the weight of the true class.

    Source: as torch.nn.functional.cross_entropy.
    """
    # fp32 whatever the precision of the step: softmax in bf16 loses small losses
    return functional.cross_entropy(logits.float(), targets, weight=class_weights)
