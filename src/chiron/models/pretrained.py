"""Where the weights of `init: imagenet` come from: timm's tags, a file in the Hub's cache, or one download."""

import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError
from timm.models import PretrainedCfg

from chiron.core.errors import ModelError

_IMAGENET_TAG = re.compile(r"(?:^|_)in(?:1k|12k|21k|22k|w21k)(?:_|$)")
_CONNECT_SECONDS = 5.0


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


def weights_file(config: PretrainedCfg) -> Path | None:
    """The safetensors file of a Hub repository, from the cache or downloaded once; None for weights from elsewhere.

    The cache is asked before the network, and the network is tried for a few seconds before the Hub's own client,
    which would retry for most of a minute.
    Raises:
        ModelError: the file is neither cached nor to be had.
    """
    if not config.hf_hub_id:
        return None
    repository, _, revision = config.hf_hub_id.partition("@")
    where: dict[str, Any] = {"filename": config.hf_hub_filename or "model.safetensors", "revision": revision or None}
    try:
        return Path(hf_hub_download(repository, local_files_only=True, **where))
    except LocalEntryNotFoundError:
        pass
    try:
        _require_connection()
        return Path(hf_hub_download(repository, **where))
    except Exception as error:  # the client raises errors of several libraries
        raise no_weights(f"{config.architecture}.{config.tag}", repository, error) from error


def no_weights(name: str, repository: str, error: Exception) -> ModelError:
    """The one sentence for weights that cannot be had."""
    reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return ModelError(
        f"The ImageNet weights of {name} must be in the cache or to be had. Got {reason}. "
        f"Run `hf download {repository}` where there is a network and copy it to {constants.HF_HUB_CACHE} here, "
        "or ask for random weights by name (init: scratch)."
    )


def _require_connection() -> None:
    if getproxies():  # the way leads through a proxy, which a plain connection knows nothing of
        return
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    with socket.create_connection((address.hostname or "", port), timeout=_CONNECT_SECONDS):
        pass
