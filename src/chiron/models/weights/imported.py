"""The file that `chiron weights import` writes: tensors under a network's own names, and where they come from."""

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.core.files import write_bytes
from chiron.models.weights.fill import Filled, fill
from chiron.spec.frozen import Frozen
from chiron.spec.provenance import WeightsOrigin

FORMAT = "chiron-weights 1"


class ImportedFacts(Frozen):
    """What the file says of itself."""

    model: str
    head: str | None = None  # of `model.head`, where the network was imported under one
    source: str  # the name of the file that was imported, without its folder
    sha256: str  # of that file
    kind: str  # what it was recognized as
    taken: str  # which of its tensors: the last weights or their average
    num_matched: int
    num_missing: int
    num_unexpected: int
    mean: tuple[float, ...] | None = None  # of the pixels that the weights were trained on, where that is known
    std: tuple[float, ...] | None = None


def write_imported(path: Path, tensors: dict[str, Tensor], facts: ImportedFacts) -> None:
    """Writes the file as a whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    metadata = {"format": FORMAT, "facts": facts.model_dump_json()}
    # clone: safetensors refuses tensors that share memory
    own = {name: tensor.contiguous().clone() for name, tensor in sorted(tensors.items())}
    write_bytes(path, serialize(own, metadata=metadata))


def read_facts(path: Path) -> ImportedFacts:
    """What an imported file says of itself; its tensors are not read.

    Raises:
        ModelError: there is no such file, or the import did not write it.
    """
    if not path.is_file():
        raise ModelError(
            f"The file of model.weights must exist. Got {path}. Make it with `chiron weights import FILE --as NAME`, "
            "or ask for random weights by name (init: scratch)."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError("a file without its metadata")
        return ImportedFacts.model_validate_json(metadata["facts"])
    except (OSError, ValueError, KeyError, SafetensorError, ValidationError) as error:
        raise ModelError(
            f"The file of model.weights must be one that `chiron weights import` wrote. Got {path.name}: "
            f"{str(error).splitlines()[0]}. Import it with `chiron weights import {path.name} --as NAME`."
        ) from error


def _below_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that a network's tensors have when it stands below another head (`HeadedModel`)."""
    if any(name.startswith("backbone.") for name in tensors):  # it stood below one of its own
        return {name: tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    return {f"backbone.{name}": tensor for name, tensor in tensors.items()}


def fill_imported(model: nn.Module, name: str, head: str | None, path: Path) -> WeightsOrigin:
    """Puts the tensors of an imported file into a network; what it lacks stays as it was drawn.

    A classifier of another number of classes is left out.

    Args:
        head: the one that the network has in place of its own.
    Raises:
        ModelError: the file is missing, damaged or of another model, or a shape does not fit.
    """
    facts = read_facts(path)
    if facts.model != name.partition(".")[0]:
        raise ModelError(
            f"The file of model.weights must hold weights of {name}. Got {path.name} for {facts.model}. "
            f"Import the original again with --as {name.partition('.')[0]}, or change model.name."
        )
    if facts.head not in (None, head):
        raise ModelError(
            f"The file of model.weights holds a network under the head {facts.head}. Got model.head {head}. "
            "Take that head, or import the original again without --head."
        )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"The file of model.weights must be whole. Got {error} at {path}. Import it again.") from error
    if facts.head is None and head is not None:
        tensors = _below_head(tensors)
    filled: Filled = fill(model, tensors, source=path.name)
    return WeightsOrigin(
        source=facts.source,
        revision=None,
        license=None,
        sha256=facts.sha256,
        num_loaded=filled.num_loaded,
        num_drawn=filled.num_drawn,
    )
