"""Foreign names of tensors become a network's own, by recognizing what the checkpoint is.

Tried are the names as they stand and as each recognized kind of `importing` renames them; for a Chiron variant also as
those of the published network that it starts from; and each of these as a part of a larger network, below one prefix.
The reading that finds most names of the network is taken.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import timm
import torch
from torch import Tensor, nn

from chiron.core.registry import leaf_names, load_leaf
from chiron.models.registry import DONORS

_IMPORTING = "chiron.models.weights.importing"


@dataclass(frozen=True)
class Reading:
    """Tensors under one set of names, and how the file was read to get them."""

    tensors: dict[str, Tensor]
    outside: tuple[str, ...]  # names in the file that this reading has no use for
    kind: str
    notes: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def convert(tensors: dict[str, Tensor], name: str, model: nn.Module) -> Reading:
    """The tensors under the names of `model`, as far as they are known.

    Args:
        tensors: of a file, without the prefixes of wrappers.
        name: of the model, with or without a tag.
    Raises:
        ModelError: two copies in the file differ, or the model computes another thing than the checkpoint's.
    """
    own = model.state_dict().keys()
    readings = [reading for first in _recognized(tensors, name) for reading in _readings(first, name, own)]
    return max(readings, key=lambda reading: len(own & reading.tensors.keys()))  # of equal ones the first, the plainest


def _recognized(tensors: dict[str, Tensor], name: str) -> Iterator[Reading]:
    leaves = [load_leaf(_IMPORTING, stem, kind="kind of checkpoint") for stem in leaf_names(_IMPORTING)]
    found = [leaf for leaf in leaves if leaf.recognizes(tensors)]
    if all(leaf.NAMES_AS_THEY_ARE for leaf in found):
        yield Reading(tensors, (), "names of the model")
    for leaf in found:
        notes = (leaf.NOTE,) if leaf.NOTE else ()
        yield Reading(leaf.convert(tensors, name), (), leaf.KIND, notes, leaf.MEAN, leaf.STD)


def _readings(first: Reading, name: str, own: Collection[str]) -> Iterator[Reading]:
    yield from _with_and_without_prefix(first, own)
    donor = DONORS.get(name.partition(".")[0])
    if donor is not None:
        for reading in _with_and_without_prefix(first, _names_of(donor.name)):
            named = {old: donor.rename(old) for old in reading.tensors}
            new_names = [new for new in named.values() if new is not None]
            if len(set(new_names)) == len(new_names):
                outside = tuple(old for old, new in named.items() if new is None)
                tensors = {new: reading.tensors[old] for old, new in named.items() if new is not None}
                kind = f"{reading.kind}, as {donor.name.partition('.')[0]}"
                yield replace(reading, tensors=tensors, outside=reading.outside + outside, kind=kind)


def _with_and_without_prefix(reading: Reading, wanted: Collection[str]) -> Iterator[Reading]:
    yield reading
    prefix = _prefix(reading.tensors, wanted)
    if prefix:
        outside = tuple(old for old in reading.tensors if not old.startswith(prefix))
        tensors = {old.removeprefix(prefix): t for old, t in reading.tensors.items() if old.startswith(prefix)}
        yield replace(reading, tensors=tensors, outside=outside, kind=f"{reading.kind}, below {prefix[:-1]}")


def _prefix(names: Collection[str], wanted: Collection[str]) -> str:
    """What stands before the names of a network that is a part of a larger one; at least half of its names must be."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for k in range(len(parts)):
            if ".".join(parts[k:]) in wanted:
                counts[".".join([*parts[:k], ""])] += 1
    prefix, count = max(counts.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    return prefix if 2 * count >= len(wanted) else ""


def _names_of(published: str) -> Collection[str]:
    """Names of the tensors of a published network, without making them."""
    architecture, _, _ = published.partition(".")
    with torch.device("meta"):
        if not architecture.endswith("_Weights"):
            return timm.create_model(architecture).state_dict().keys()
        import torchvision  # seconds, and few need it

        return torchvision.models.get_model(architecture.removesuffix("_Weights").lower()).state_dict().keys()
