"""Qing (CheXNet and a transformer): its checkpoints hold the DenseNet twice, as a whole and as its features.

Source: facts of AIsclepius/AI. The unused ImageNet classifier of the DenseNet is left out.
"""

import re

import torch
from torch import Tensor

from chiron.core.errors import ModelError
from chiron.models.weights.fill import first_names

KIND = "Qing, its doubled DenseNet once"
NAMES_AS_THEY_ARE = False
NOTE = ""
MEAN = STD = None

_WHOLE, _COPY = "base_model.features.", "cnn_features."
_CHILDREN = ["conv0", "norm0", "relu0", "pool0", "denseblock1", "transition1", "denseblock2", "transition2"]
_CHILDREN += ["denseblock3", "transition3", "denseblock4", "norm5"]  # of a DenseNet's features, in order


def recognizes(tensors: dict[str, Tensor]) -> bool:
    """By both names of the DenseNet."""
    return all(any(name.startswith(prefix) for name in tensors) for prefix in (_WHOLE, _COPY))


def convert(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The DenseNet as `features.`, the rest under its own names.

    Raises:
        ModelError: the two copies are not the same.
    """
    whole = {old.removeprefix(_WHOLE): tensor for old, tensor in tensors.items() if old.startswith(_WHOLE)}
    copy = {_by_name(old.removeprefix(_COPY)): tensor for old, tensor in tensors.items() if old.startswith(_COPY)}
    differing = [old for old in whole.keys() | copy.keys() if not _equal(whole.get(old), copy.get(old))]
    if differing:
        raise ModelError(
            f"Both copies of the network in the file must be equal. Got {len(differing)} differing tensors: "
            f"{first_names(sorted(differing))}. Save one of the two, {_WHOLE}* or {_COPY}*."
        )
    rest = {old: tensor for old, tensor in tensors.items() if not old.startswith(("base_model.", _COPY))}
    return {**{f"features.{old}": tensor for old, tensor in whole.items()}, **rest}


def _by_name(name: str) -> str:
    """`conv0.weight` for `0.weight`, where the copy is a list."""
    return re.sub(r"^(\d+)\.", lambda m: f"{_CHILDREN[int(m[1])]}." if int(m[1]) < len(_CHILDREN) else m[0], name)


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and torch.equal(a, b)
