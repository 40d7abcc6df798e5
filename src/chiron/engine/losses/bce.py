"""Binary cross-entropy a logit: one logit for two classes, or a logit a class where several may be true."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from chiron.engine.losses._per_logit import targets_per_logit, weight_of, weighted_mean, without_gaps
from chiron.spec.labels import LabelSpace

OPTIONS = ()  # keys of the recipe's train part; read without importing this
# a question a logit: for several classes or none an image, or one logit for two; read without importing this
SEVERAL_LABELS = True


def make_targets(
    y_true: Int[Tensor, "n"] | Float[Tensor, "n classes"], labels: LabelSpace
) -> Float[Tensor, "n outputs"]:
    """0, 1 or NaN (not assessed) a logit; for one logit 1 means the positive class."""
    return targets_per_logit(y_true, labels, loss="bce")


def loss(
    logits: Float[Tensor, "n outputs"],
    targets: Float[Tensor, "n outputs"],
    class_weights: Float[Tensor, "two"] | Float[Tensor, "two outputs"] | None = None,
) -> Float[Tensor, ""]:
    """Mean over assessed labels, in nats.

    Args:
        class_weights: of the labels 0 and 1, for all logits or a column a logit; the mean is weighted by them.
    """
    each = functional.binary_cross_entropy_with_logits(logits.float(), without_gaps(targets), reduction="none")
    return weighted_mean(each, weight_of(targets, class_weights))


def divisor(
    targets: Float[Tensor, "n outputs"],
    class_weights: Float[Tensor, "two"] | Float[Tensor, "two outputs"] | None = None,
) -> float:
    """What the mean of `loss` divides by: the sum of the assessed labels' weights."""
    return float(weight_of(targets, class_weights).sum())
