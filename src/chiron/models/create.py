"""`create_model`: any network by name, with weights that are a function of names alone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiron.core.errors import ModelError
from chiron.core.hashing import seed_of
from chiron.core.suggest import did_you_mean
from chiron.models.headed import put_head
from chiron.models.registry import DONORS, chiron_model_names
from chiron.models.weights.fill import count_loaded
from chiron.models.weights.imported import fill_imported
from chiron.models.weights.pretrained import (
    Published,
    no_weights,
    origin_of,
    published_weights,
    weight_tags,
    weights_file,
)
from chiron.spec.provenance import WeightsOrigin

OtherHead = tuple[str, dict[str, Any] | None] | None  # its name and arguments


def create_model(
    name: str,
    *,
    num_classes: int,
    in_chans: int = 3,
    img_size: int,
    with_mask: bool | None = None,
    head: str | None = None,
    head_args: dict[str, Any] | None = None,
    init: str,
    weights: str | None = None,
    seed: int,
    **model_args: Any,
) -> nn.Module:
    """A network on the CPU in training mode that was shown to accept its input and to give `num_classes` logits.

    Random weights are a function of (name, arguments, seed) and leave the global random state as it was.

    Args:
        name: a Chiron family or any timm model; `architecture.tag` names one set of ImageNet weights.
        img_size: side of the square input, pixels; told to the models that want to know it.
        head: a file of `models/heads` in place of the network's own head; `head_args` are its arguments.
        with_mask: whether there is a mask for `model(image, mask)`; None where the caller makes the inputs.
        init: `imagenet` loads published weights and draws only what they lack, `imported` those of a file, `scratch`
            draws all. After the first two the network's `weights_origin` says what was loaded.
        weights: file that `chiron weights import` wrote, for `imported`.
        model_args: passed on, for example `drop_rate`.
    Raises:
        ModelError: unknown name or argument, an input that does not fit, or weights that cannot be had.
    """
    require_known(name)
    if init not in ("scratch", "imagenet", "imported"):
        raise ModelError(f"init must be 'scratch', 'imagenet' or 'imported'. Got {init!r}. Choose one by name.")
    if (init == "imported") != (weights is not None):
        raise ModelError(
            f"init 'imported' and a file of weights belong together. Got init {init!r} and weights {weights}. "
            "`chiron weights import FILE --as NAME` writes the file."
        )
    if num_classes < 1 or in_chans < 1:
        raise ModelError(
            f"A classifier needs at least one class and one channel. Got num_classes {num_classes}, "
            f"in_chans {in_chans}. Look at the labels and the input."
        )
    architecture = name.partition(".")[0]
    arguments = {"num_classes": num_classes, "in_chans": in_chans, **model_args}
    other_head = None if head is None else (head, head_args)
    published = imagenet_weights(name) if init == "imagenet" else None  # before anything is built or fetched
    model = _under_head(_build(architecture, arguments, img_size, seed), other_head, arguments, img_size, seed)
    if with_mask is not None:
        _require_mask(model, name, with_mask)
    _require_fit(model, name, num_classes, in_chans, img_size)
    if published is not None:
        plain = _build_pretrained(architecture, published, arguments, img_size, seed)
        return _under_head(plain, other_head, arguments, img_size, seed)
    if weights is not None:
        model.weights_origin = fill_imported(model, name, head, Path(weights))  # type: ignore[assignment]
    return model


def imagenet_weights(name: str) -> Published:
    """What `init: imagenet` loads into a model: the set of its donor, or timm's own.

    Raises:
        ModelError: there is none.
    """
    donor = DONORS.get(name.partition(".")[0])
    return published_weights(name if donor is None else donor.name)


def _build_pretrained(
    architecture: str, published: Published, arguments: dict[str, Any], img_size: int, seed: int
) -> nn.Module:
    """The network with published weights; `weights_origin` says what they are."""
    file = weights_file(published)
    own = architecture in DONORS  # whose entry loads them and counts
    name, overlay = (architecture, {}) if own else (published.name, {"file": str(file)})
    try:
        model = _build(name, arguments, img_size, seed, pretrained=True, pretrained_cfg_overlay=overlay)
    except ModelError:
        raise
    except Exception as error:  # a damaged file, a full disk: errors of several libraries
        raise no_weights(published, error) from error
    if not own:
        model.weights_origin = origin_of(published, file, *count_loaded(model))  # type: ignore[assignment]
    return model


def _under_head(model: nn.Module, head: OtherHead, arguments: dict[str, Any], img_size: int, seed: int) -> nn.Module:
    """The network with the head that is asked for; of loaded weights those stay that the new head leaves in place."""
    if head is None:
        return model
    origin: WeightsOrigin | None = getattr(model, "weights_origin", None)
    with _seeded(seed_of("head", seed)):
        headed = put_head(
            model, *head, num_classes=arguments["num_classes"], in_chans=arguments["in_chans"], img_size=img_size
        )
    if origin is not None:
        total, below = (sum(p.numel() for p in part.parameters()) for part in (headed, headed.backbone))
        loaded = min(origin.num_loaded, below)
        counted = origin.model_copy(update={"num_loaded": loaded, "num_drawn": total - loaded})
        headed.weights_origin = counted  # type: ignore[assignment]
    return headed


def takes_mask(model: nn.Module | type[nn.Module]) -> bool:
    """Whether the network's second input is a mask, as its `input_names` say; most take an image alone."""
    return "mask" in getattr(model, "input_names", ("image",))


def example_inputs(model: nn.Module, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ h w"], ...]:
    """All inputs of a network, made of images: with a mask two fields, for each image elsewhere."""
    if not takes_mask(model):
        return (images,)
    height, width = images.shape[-2:]
    mask = images.new_zeros(len(images), 1, height, width)
    rows = slice(height // 6, height - height // 6)
    for k in range(len(images)):
        for left in (width // 8, width // 2 - (k % 5) * width // 16):
            mask[k, :, rows, left : left + width // 3] = 1
    return (images, mask)


def list_models(pattern: str | None = None) -> list[str]:
    """All names that `create_model` takes, Chiron's first; `pattern` has wildcards, for example `*resnet*`."""
    own = chiron_model_names()
    names = own + [name for name in timm.list_models() if name not in own]
    return [name for name in names if pattern is None or fnmatch(name, pattern)]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Builds on the CPU from `seed`; the generators of all devices are as before when the block ends."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPUs' generators too
        yield


def _build(
    name: str,
    arguments: dict[str, Any],
    img_size: int,
    seed: int,
    **timm_arguments: Any,
) -> nn.Module:
    """timm's model; `img_size` is left out where it is no argument."""
    for sizes in ({"img_size": img_size}, {}):
        try:
            with _seeded(seed):
                return timm.create_model(name, **timm_arguments, **{**sizes, **arguments})
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown is None:
                raise _misfit(name, arguments, error) from error
            if unknown[1] not in sizes:
                raise ModelError(
                    f"The arguments of {name} must be ones that it takes. Got {unknown[1]!r}. "
                    "Take it out of model.args."
                ) from error
        except (ArithmeticError, AssertionError, AttributeError, LookupError, ValueError, RuntimeError) as error:
            if timm_arguments.get("pretrained"):
                raise  # the arguments were tried before: it is the weights
            raise _misfit(name, {**arguments, **sizes}, error) from error
    raise AssertionError("unreachable: the second round has no img_size to refuse")


def _misfit(name: str, arguments: dict[str, Any], error: Exception) -> ModelError:
    told = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return ModelError(f"The arguments of {name} must fit together. Got {told}: {reason}. Change them.")


def require_known(name: str) -> None:
    """Stops at a name that neither Chiron nor timm has.

    Raises:
        ModelError: with the nearest name.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        suggestion = did_you_mean(architecture, list_models())
        raise ModelError(
            f"A model must be a Chiron family or a timm model. Got {name!r}. {suggestion} "
            "`chiron models` lists the names.".replace("  ", " ")
        )
    if tag and tag not in weight_tags(architecture):
        known = ", ".join(weight_tags(architecture)) or "none"
        raise ModelError(f"A tag after the dot must be one of {architecture}'s ({known}). Got {tag!r}. Change it.")


def _require_mask(model: nn.Module, name: str, with_mask: bool) -> None:
    if takes_mask(model) != with_mask:
        raise ModelError(
            f"{name} takes an image and its mask. Got input.mask none. Set input.mask: lung."
            if takes_mask(model)
            else f"{name} takes an image alone. Got an input with a mask. Leave input.mask out, or choose a model "
            "that takes one."
        )


def _require_fit(model: nn.Module, name: str, num_classes: int, in_chans: int, img_size: int) -> None:
    """One black image through the network, so that a wrong size is told now and not in the first training step."""
    was_training = model.training
    try:
        with torch.no_grad(), torch.device("cpu"):
            logits = model.eval()(*example_inputs(model, torch.zeros(1, in_chans, img_size, img_size)))
    except ModelError:
        raise
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        raise _misfit(name, {"in_chans": in_chans, "img_size": img_size}, error) from error
    finally:
        model.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, num_classes):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(
            f"A model must give logits of shape (1, {num_classes}) for one image. Got {got} from {name}. "
            "Choose a classification model."
        )
