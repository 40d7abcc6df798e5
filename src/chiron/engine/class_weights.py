"""Weights of the classes in the loss, from the training split alone."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiron.core.errors import DataError
from chiron.spec.labels import LabelSpace

Weighting = Literal["balanced", "balanced_mean_one", "inverse_frequency"]
_EPSILON = 1e-6  # keeps the published inverse_frequency to its last digit


def class_weights(
    y_train: Int[np.ndarray, "n"] | Float[np.ndarray, "n classes"],
    labels: LabelSpace,
    weighting: Weighting,
    *,
    cap: float | None = None,
) -> Float[Tensor, "classes"] | Float[Tensor, "two outputs"]:
    """One weight a class, in the order of `labels.names`; for one logit in the order (negative, positive).

    Of several labels an image `balanced` gives every class its own pair: 1 where it is absent, and where it is present
    the number of absent over present ones among the assessed images, so that both weigh the same.

    Otherwise, with N images, C classes and n_c images of class c: `balanced` is N / (C n_c), `balanced_mean_one` the
    same rescaled to a sum of C, `inverse_frequency` 1 / (n_c / N + 1e-6).

    Args:
        cap: no weight is larger.
    Raises:
        DataError: a class has no training image.
    """
    if labels.is_multi_label:
        return _pairs(y_train, labels, cap)
    counts = np.bincount(y_train, minlength=len(labels.names)).astype(np.float64)
    if absent := [name for name, count in zip(labels.names, counts, strict=True) if count == 0]:
        raise DataError(
            f"Class weights need training images of every class. Got none of {', '.join(absent)}. "
            "Add images to the train split, or --set train.class_weights=none."
        )
    weights = len(y_train) / (len(counts) * counts)
    if weighting == "balanced_mean_one":
        weights = weights / weights.mean()
    elif weighting == "inverse_frequency":
        weights = 1 / (counts / len(y_train) + _EPSILON)
    tensor = torch.from_numpy(np.minimum(weights, cap or np.inf)).float()
    return tensor.flip(0) if labels.one_logit and labels.positive_index == 0 else tensor


def _pairs(
    y_train: Float[np.ndarray, "n classes"], labels: LabelSpace, cap: float | None
) -> Float[Tensor, "2 classes"]:
    """For several labels an image: the weights of 0 and of 1, a column a class."""
    present, absent = (y_train == 1).sum(axis=0), (y_train == 0).sum(axis=0)
    if lacking := [name for name, count in zip(labels.names, present, strict=True) if count == 0]:
        raise DataError(
            f"Class weights need training images that show every class. Got none of {', '.join(lacking)}. "
            "Add images to the train split, or --set train.class_weights=none."
        )
    weights = np.minimum(absent / present, cap or np.inf)
    return torch.from_numpy(np.stack([np.ones_like(weights), weights])).float()
