"""Where the weights of `init: imagenet` come from: which set, its license and statistics, and its file.

A set has a name of timm, `convnext_tiny.fb_in1k`, or of torchvision, `ResNet18_Weights.IMAGENET1K_V1`. Its file lies in
the cache of the Hub or of torch, or is downloaded into it once.
"""

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, urlopen

import timm
import torch
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError
from timm.models import PretrainedCfg
from torch import nn

from chiron.core.errors import ModelError
from chiron.core.files import move_into_place
from chiron.core.hashing import sha256_file
from chiron.models.weights.files import read_weight_file, take_tensors
from chiron.models.weights.fill import fill, require_names
from chiron.models.weights.importing.densenet import present_name
from chiron.spec.provenance import WeightsOrigin

_IMAGENET_TAG = re.compile(r"(?:^|_)in(?:1k|12k|21k|22k|w21k)(?:_|$)")
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")  # as torch.hub marks its files
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Published:
    """One published set of weights."""

    name: str
    repository: str | None  # of the Hub; None where `url` says where the file is
    revision: str | None
    filename: str
    url: str | None
    license: str | None  # None where the source names none
    mean: tuple[float, ...]  # of the images that it was trained on, a channel, in 0..1
    std: tuple[float, ...]


def weight_tags(name: str) -> dict[str, PretrainedCfg]:
    """timm's tags of an architecture that have weights, its default first."""
    configs = timm.models.get_arch_pretrained_cfgs(name).values()
    return {config.tag or "": config for config in configs if config.has_weights}


def imagenet_config(name: str) -> PretrainedCfg:
    """The ImageNet weights of a model name: its own tag, or the first that timm lists.

    Raises:
        ModelError: the architecture has no such weights, or the tag is not one of ImageNet.
    """
    architecture, _, tag = name.partition(".")
    tags = {key: config for key, config in weight_tags(architecture).items() if _IMAGENET_TAG.search(key)}
    if not tags:
        raise ModelError(
            f"init: imagenet needs a model with ImageNet weights. Got {name!r}, which has none. "
            "Ask for random weights by name (init: scratch), or choose another model."
        )
    if tag and tag not in tags:
        raise ModelError(
            f"init: imagenet needs a tag of ImageNet weights. Got {tag!r} of {architecture}. "
            f"Choose one of {', '.join(tags)}."
        )
    return tags[tag] if tag else next(iter(tags.values()))


def published_weights(name: str) -> Published:
    """What is known of a set of weights without its file.

    Args:
        name: of timm, with or without a tag, or of torchvision.
    Raises:
        ModelError: there is no such set.
    """
    if "_Weights." in name:
        return _of_torchvision(name)
    config = imagenet_config(name)
    repository, _, revision = (config.hf_hub_id or "").partition("@")
    filename = config.hf_hub_filename or "model.safetensors"
    return Published(
        name=f"{config.architecture}.{config.tag}",
        repository=repository or None,
        revision=revision or None,
        filename=filename if repository else Path(urlsplit(config.url or "").path).name,
        url=config.url or None,
        license=config.license,
        mean=tuple(config.mean),
        std=tuple(config.std),
    )


def _of_torchvision(name: str) -> Published:
    import torchvision  # seconds, and few need it

    try:
        weights = torchvision.models.get_weight(name)
    except (KeyError, ValueError) as error:
        raise ModelError(f"torchvision must have the set of weights. Got {name!r}: {error}. Choose another.") from error
    steps = weights.transforms()
    return Published(
        name=name,
        repository=None,
        revision=None,
        filename=Path(urlsplit(weights.url).path).name,
        url=weights.url,
        license=weights.meta.get("license"),
        mean=tuple(steps.mean),
        std=tuple(steps.std),
    )


def weights_file(weights: Published) -> Path:
    """The file of a set, from the cache or downloaded once.

    The cache is asked before the network, and the network is tried for a few seconds before the Hub's own client,
    which would retry for most of a minute.
    Raises:
        ModelError: the file is neither cached nor to be had, or is not the one that its name promises.
    """
    if weights.repository is None:
        return _file_of_torch(weights)
    where: dict[str, Any] = {"filename": weights.filename, "revision": weights.revision}
    try:
        return Path(hf_hub_download(weights.repository, local_files_only=True, **where))
    except LocalEntryNotFoundError:
        pass
    try:
        require_connection(constants.ENDPOINT)
        return Path(hf_hub_download(weights.repository, **where))
    except Exception as error:  # the client raises errors of several libraries
        raise no_weights(weights, error) from error


def _file_of_torch(weights: Published) -> Path:
    """A file in the place where torch.hub keeps its own, under the name that torch.hub would give it."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.filename
    promised = _HASH_IN_NAME.search(weights.filename)
    if not path.is_file():
        try:
            require_connection(weights.url or "")
            _download(weights.url or "", path, promised[1] if promised else "")
        except ModelError:
            raise
        except Exception as error:  # of the network, of the disk, of a server that is none
            raise no_weights(weights, error) from error
    elif promised and not sha256_file(path).startswith(promised[1]):
        raise ModelError(
            f"The SHA-256 of {weights.filename} must begin with {promised[1]}. Got another at {path}. "
            "Remove it to have it downloaded again."
        )
    return path


def _download(url: str, path: Path, promised: str) -> None:
    """Under another name until it is whole and has the promised digest: a killed download leaves nothing to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with urlopen(url, timeout=_SILENCE_SECONDS) as answer, temporary.open("wb") as stream:
            while block := answer.read(1 << 20):
                stream.write(block)
            expected = answer.headers.get("Content-Length")
            if expected is not None and stream.tell() != int(expected):
                raise OSError(f"{stream.tell()} of {expected} bytes")
        digest = sha256_file(temporary)
        if not digest.startswith(promised):
            raise OSError(f"a file with SHA-256 {digest[:8]}... in place of {promised}...")
        move_into_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def no_weights(weights: Published, error: Exception) -> ModelError:
    """The one sentence for weights that cannot be had."""
    reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    if weights.repository is not None:
        fetch, place = f"Run `hf download {weights.repository}`", str(constants.HF_HUB_CACHE)
    else:
        fetch, place = f"Download {weights.url}", str(Path(torch.hub.get_dir()) / "checkpoints")
    return ModelError(
        f"The ImageNet weights of {weights.name} must be in the cache or to be had. Got {reason}. "
        f"{fetch} where there is a network and copy it to {place} here, "
        "or ask for random weights by name (init: scratch)."
    )


def require_connection(address: str) -> None:
    """Tries an address for a few seconds; the Hub's own client would retry for most of a minute.

    Raises:
        OSError: nobody answers there.
    """
    if getproxies():  # the way leads through a proxy, which a plain connection knows nothing of
        return
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_SECONDS):
        pass


def load_donor(model: nn.Module, donor: str, rename: Callable[[str], str | None]) -> WeightsOrigin:
    """Puts a published set into a network of another family; what the set lacks stays as it was drawn.

    Args:
        rename: the network's own name of a tensor of the set, or None for one that it leaves out.
    Raises:
        ModelError: the set cannot be had, a renamed tensor has no place, or its shape differs.
    """
    weights = published_weights(donor)
    file = weights_file(weights)
    tensors = take_tensors(read_weight_file(file), file.name).tensors
    names = {old: rename(present_name(old)) for old in tensors}  # torchvision's files of DenseNets have old names
    renamed = {new: tensors[old] for old, new in names.items() if new is not None}
    require_names(model, renamed, source=weights.name)
    filled = fill(model, renamed, source=weights.name)
    return origin_of(weights, file, filled.num_loaded, filled.num_drawn)


def origin_of(weights: Published, file: Path, num_loaded: int, num_drawn: int) -> WeightsOrigin:
    """What a bundle keeps of a set: where it is published, never where it lies here."""
    is_snapshot = weights.repository is not None and file.parent.parent.name == "snapshots"
    return WeightsOrigin(
        source=f"{weights.repository or 'torchvision ' + weights.name}/{weights.filename}",
        revision=file.parent.name if is_snapshot else weights.revision,
        license=weights.license,
        sha256=sha256_file(file),
        num_loaded=num_loaded,
        num_drawn=num_drawn,
    )
