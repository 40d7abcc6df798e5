"""Weights of others: `chiron weights import`, and the input that pretrained weights expect."""

from dataclasses import dataclass
from pathlib import Path

import timm
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.core.files import require_new
from chiron.core.hashing import sha256_file
from chiron.models.create import create_model, imagenet_weights
from chiron.models.weights.convert import convert
from chiron.models.weights.files import read_weight_file, take_tensors
from chiron.models.weights.fill import classifier_names, fill, first_conv_names
from chiron.models.weights.imported import ImportedFacts, read_facts, write_imported
from chiron.spec.recipe import Recipe


@dataclass(frozen=True)
class Import:
    """What an import found, and the file it wrote."""

    path: Path
    facts: ImportedFacts
    matched: tuple[str, ...]  # the network's names that have a tensor now
    missing: tuple[str, ...]  # and those that have none: they will be drawn
    unexpected: tuple[str, ...]  # tensors of the source that the network has no place for
    left_out: tuple[str, ...]  # the classifier, where that was asked for
    num_classes: int
    notes: tuple[str, ...]


def import_weights(
    file: str | Path,
    name: str,
    out: str | Path | None = None,
    *,
    num_classes: int | None = None,
    head: str | None = None,
    averaged: bool = False,
    leave_out_classifier: bool = False,
    force: bool = False,
) -> Import:
    """Makes of a checkpoint of others the file that `model.weights` takes; no code in it is executed.

    Args:
        name: the model that the weights are for, as `chiron models` lists it.
        out: the file to write; by default `<name>.safetensors` in the current folder.
        num_classes: classes of the network; by default those of the checkpoint's classifier.
        averaged: take the average of the weights that some trainings keep.
        leave_out_classifier: take a checkpoint of another number of classes without its classifier.
    Raises:
        ModelError: the file is no whole file of tensors, or they do not fit the model.
        SpecError: `out` exists.
        OutputError: `out` cannot be written.
    """
    source, architecture = Path(file), name.partition(".")[0]
    path = Path(out) if out is not None else Path(f"{architecture}.safetensors")
    if path.suffix != ".safetensors":
        raise ModelError(f"Imported weights are kept as .safetensors. Got {path.name}. Give it that ending.")
    require_new(path, force=force)
    model = _network(name, num_classes=num_classes or 1000, head=head)
    taken = take_tensors(read_weight_file(source), source.name, averaged=averaged)
    reading = convert(taken.tensors, name, model)
    model = _fitting(model, name, reading.tensors, num_classes=num_classes, head=head)
    filled = fill(model, reading.tensors, source=source.name, keep_classifier=not leave_out_classifier)
    unexpected = tuple(sorted({*filled.unexpected, *reading.outside}))
    facts = ImportedFacts(
        model=architecture,
        head=head,
        source=source.name,
        sha256=sha256_file(source),
        kind=reading.kind,
        taken=taken.key or "the whole file",
        num_matched=len(filled.matched),
        num_missing=len(filled.missing),
        num_unexpected=len(unexpected),
        mean=reading.mean,
        std=reading.std,
    )
    write_imported(path, {key: reading.tensors[key] for key in filled.matched}, facts)
    average = ("The file also holds an average of the weights (EMA); --ema takes that.",) if taken.has_average else ()
    return Import(
        path,
        facts,
        matched=filled.matched,
        missing=filled.missing,
        unexpected=unexpected,
        left_out=filled.left_out,
        num_classes=model.num_classes,  # type: ignore[arg-type]
        notes=(*reading.notes, *average),
    )


def _network(name: str, *, num_classes: int, head: str | None, in_chans: int = 3) -> nn.Module:
    config = timm.models.get_pretrained_cfg(name.partition(".")[0])
    side = config.input_size[-1] if config else 224
    return create_model(
        name, num_classes=num_classes, in_chans=in_chans, img_size=side, head=head, init="scratch", seed=0
    )


def _fitting(
    model: nn.Module, name: str, tensors: dict[str, Tensor], *, num_classes: int | None, head: str | None
) -> nn.Module:
    """The model again with the checkpoint's channels, and its classes where none were asked for."""
    own = model.state_dict()
    kernels = [tensors[key] for key in first_conv_names(model) if key in tensors and tensors[key].ndim == 4]
    in_chans = next((kernel.shape[1] for kernel in kernels if kernel.shape[1] in (1, 3)), 3)
    classes = num_classes or next(
        (tensors[key].shape[0] for key in classifier_names(model) if key in tensors and tensors[key].ndim), 1000
    )
    same = [own[key].shape[1] == in_chans for key in first_conv_names(model) if key in own]
    if all(same) and classes == (num_classes or 1000):
        return model
    return _network(name, num_classes=classes, head=head, in_chans=in_chans)


def with_input_of_weights(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """The recipe with `input.mean` and `input.std` of its first weights where it gives none, and sentences to warn of.

    Weights are made for pixels of certain statistics; written into the recipe they hold for the run and its bundle.
    Raises:
        ModelError: the recipe asks for weights that do not exist.
    """
    known = _input_of_weights(recipe)
    if known is None:
        return recipe, []
    given, changes, told = recipe.input, {}, []
    for key, values in zip(("mean", "std"), known, strict=True):
        # kernels for gray images are sums over the channels, each of which then sees the same pixels
        own = values if given.in_chans == len(values) else (round(sum(values) / len(values), 6),)
        stated = getattr(given, key)
        if stated is None:
            changes[key] = own
        elif tuple(stated) != tuple(own):
            told.append(
                f"input.{key} {list(stated)} is not that of the first weights, {list(own)}: they see other pixels than "
                "they were trained on. Leave it out to take theirs."
            )
    return recipe.model_copy(update={"input": given.model_copy(update=changes)}), told


def _input_of_weights(recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if recipe.model.init == "imagenet":
        published = imagenet_weights(recipe.model.name)
        return published.mean, published.std
    if recipe.model.weights is not None:
        facts = read_facts(Path(recipe.model.weights))
        return (facts.mean, facts.std) if facts.mean is not None and facts.std is not None else None
    return None
