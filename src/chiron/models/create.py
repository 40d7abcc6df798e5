"""`create_model`: any network by name, with weights that are a function of names alone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from chiron.core.errors import ModelError
from chiron.core.suggest import did_you_mean
from chiron.models.fill import count_loaded
from chiron.models.headed import put_head
from chiron.models.imported import fill_imported
from chiron.models.pretrained import Published, no_weights, origin_of, published_weights, weight_tags, weights_file
from chiron.models.registry import DONORS, chiron_model_names

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
    _require_known(name)
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
    model = _build(architecture, arguments, img_size, seed, other_head)
    if with_mask is not None:
        _require_mask(model, name, with_mask)
    _require_fit(model, name, num_classes, in_chans, img_size)
    if published is not None:
        model = _build_pretrained(architecture, published, arguments, img_size, seed, other_head)
    if weights is not None:
        model.weights_origin = fill_imported(model, name, Path(weights))  # type: ignore[assignment]
    return model


def imagenet_weights(name: str) -> Published:
    """What `init: imagenet` loads into a model: the set of its donor, or timm's own.

    Raises:
        ModelError: there is none.
    """
    donor = DONORS.get(name.partition(".")[0])
    return published_weights(name if donor is None else donor.name)


def _build_pretrained(
    architecture: str, published: Published, arguments: dict[str, Any], img_size: int, seed: int, head: OtherHead
) -> nn.Module:
    """The network with published weights below the head that is asked for; `weights_origin` says what they are."""
    file = weights_file(published)
    own = architecture in DONORS
    name, overlay = (architecture, {}) if own else (published.name, {"file": str(file)})
    try:
        model = _build(name, arguments, img_size, seed, head, pretrained=True, pretrained_cfg_overlay=overlay)
    except ModelError:
        raise
    except Exception as error:  # a damaged file, a full disk: errors of several libraries
        raise no_weights(published, error) from error
    if not own:
        model.weights_origin = origin_of(published, file, *count_loaded(model))  # type: ignore[assignment]
    return model


@dataclass(frozen=True)
class ModelDescription:
    """What `chiron models` tells of a network."""

    name: str
    num_parameters: int
    num_macs: int  # multiplications with addition for one image
    num_classes: int
    in_chans: int
    img_size: int  # pixels
    weight_tags: dict[str, str | None]  # sets of pretrained weights and their licenses, None where timm names none


def describe_model(
    name: str, *, num_classes: int = 2, in_chans: int = 3, img_size: int | None = None, **model_args: Any
) -> ModelDescription:
    """Counts of a network with random weights, found by building it and running one black image.

    Args:
        img_size: side of the input, pixels; None takes the size that the model was made for.
    Raises:
        ModelError: as `create_model`.
    """
    _require_known(name)
    architecture = name.partition(".")[0]
    if img_size is None:
        config = timm.models.get_pretrained_cfg(architecture)
        img_size = config.input_size[-1] if config else 224
    model = create_model(
        name,
        num_classes=num_classes,
        in_chans=in_chans,
        img_size=img_size,
        init="scratch",
        seed=0,
        **model_args,
    )
    return ModelDescription(
        name=name,
        num_parameters=count_parameters(model)["total"],
        num_macs=count_macs(model, in_chans, img_size),
        num_classes=num_classes,
        in_chans=in_chans,
        img_size=img_size,
        weight_tags=_licenses(architecture),
    )


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Number of all parameters (`total`) and of those that training changes (`trainable`); a shared one counts once."""
    parameters = list(model.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return {"total": sum(parameter.numel() for parameter in parameters), "trainable": trainable}


def _licenses(architecture: str) -> dict[str, str | None]:
    if architecture in DONORS:
        published = imagenet_weights(architecture)
        return {published.name: published.license}
    return {tag: config.license for tag, config in weight_tags(architecture).items()}


def count_macs(model: nn.Module, in_chans: int, img_size: int) -> int:
    """Multiply-adds of convolutions, linear layers and attention for one image."""
    was_training = model.training
    # The plain kernel is made of matrix products, which the counter knows on every version and device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(*example_inputs(model, torch.zeros(1, in_chans, img_size, img_size)))
    model.train(was_training)
    return counter.get_total_flops() // 2


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
    head: OtherHead,
    **timm_arguments: Any,
) -> nn.Module:
    """timm's model, under another head if there is one; `img_size` is left out where it is no argument."""
    for sizes in ({"img_size": img_size}, {}):
        try:
            with _seeded(seed):
                model = timm.create_model(name, **timm_arguments, **{**sizes, **arguments})
                if head is None:
                    return model
                told = {key: arguments[key] for key in ("num_classes", "in_chans")}
                return put_head(model, *head, **told, img_size=img_size)
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown is None:
                raise _misfit(name, arguments, error) from error
            if unknown[1] not in sizes:
                raise ModelError(
                    f"The arguments of {name} must be ones that it takes. Got {unknown[1]!r}. "
                    "Take it out of model.args."
                ) from error
        except (AssertionError, ValueError, RuntimeError) as error:
            if timm_arguments.get("pretrained"):
                raise  # the arguments were tried before: it is the weights
            raise _misfit(name, {**arguments, **sizes}, error) from error
    raise AssertionError("unreachable: the second round has no img_size to refuse")


def _misfit(name: str, arguments: dict[str, Any], error: Exception) -> ModelError:
    told = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return ModelError(f"The arguments of {name} must fit together. Got {told}: {reason}. Change them.")


def _require_known(name: str) -> None:
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
