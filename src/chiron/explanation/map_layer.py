"""Where a class-activation map is read: the last layer on whose places the score still depends, found by itself.

A family of Chiron names its own (`cam_layer`). In any other network the layers are recorded in one pass, and those
count whose output has places in the proportion of the image (feature maps, channels last, or tokens) and as many
channels as the features that the classifier sees. The last of them whose gradient is not 0 at its places is taken:
after the last block of a network that pools its class token, the patch tokens' gradient is exactly 0, and the map is
read before it.

What was found is remembered for as long as the network lives, by the size of its input.
"""

from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from chiron.core.errors import ExplainError
from chiron.explanation.recording import recorded
from chiron.explanation.subject import Subject

__all__ = ["MapLayer", "activations", "activations_and_gradients", "find_map_layer", "layer_of", "why_no_map_layer"]

Layout = Literal["maps", "channels_last", "tokens"]


@dataclass(frozen=True)
class MapLayer:
    """A layer by its dotted name, how its output is laid out, and its grid (rows, columns)."""

    name: str
    layout: Layout
    grid: tuple[int, int]
    prefix: int = 0  # tokens before those of the grid, such as the class token

    def as_maps(self, output: Tensor) -> Float[Tensor, "_b _c _gh _gw"]:
        """The output as feature maps."""
        if self.layout == "maps":
            return output
        if self.layout == "channels_last":
            return rearrange(output, "b h w c -> b c h w")
        return rearrange(output[:, self.prefix :], "b (h w) c -> b c h w", h=self.grid[0])


_REMEMBERED: WeakKeyDictionary[nn.Module, dict[tuple[int, int], MapLayer]] = WeakKeyDictionary()


def find_map_layer(subject: Subject) -> MapLayer:
    """The layer for the network of `subject`, found once with the first image of this size.

    Raises:
        ExplainError: no layer has places that the score depends on.
    """
    remembered = _REMEMBERED.setdefault(subject.network, {})
    height, width = subject.image.shape[-2:]
    if (height, width) not in remembered:
        remembered[height, width] = _search(subject)
    return remembered[height, width]


def why_no_map_layer(subject: Subject) -> str | None:
    """The reason why a class-activation map cannot explain this network, or None: the `why_not` of such explainers."""
    try:
        find_map_layer(subject)
    except ExplainError as error:
        return str(error)
    return None


def activations(subject: Subject, layer: MapLayer) -> Float[Tensor, "b _c _gh _gw"]:
    """The layer's maps."""
    with torch.no_grad(), recorded(subject.network, [layer.name]) as record:
        subject.outputs()
    return layer.as_maps(record[-1][1])


def activations_and_gradients(
    subject: Subject, layer: MapLayer
) -> tuple[Float[Tensor, "b _c _gh _gw"], Float[Tensor, "b _c _gh _gw"]]:
    """The layer's maps, and the gradient of each image's score with respect to them."""
    with torch.enable_grad(), recorded(subject.network, [layer.name]) as record:
        score = subject.score(subject.network(subject.image.detach().requires_grad_(), *subject.inputs[1:])).sum()
    output = record[-1][1]
    gradient = torch.autograd.grad(score, output)[0]
    return layer.as_maps(output).detach(), layer.as_maps(gradient)


def layer_of(name: str, output: Tensor, height: int, width: int, network: nn.Module) -> MapLayer | None:
    """How the output of a layer is read, or None where it has no places in the proportion of the image."""

    def fits(rows: int, columns: int) -> bool:
        return rows * columns > 1 and rows <= height and abs(rows * width - columns * height) < max(width, height)

    if output.ndim == 4:
        channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        _, a, b, c = output.shape
        if fits(b, c) and not (channels_last and fits(a, b)):
            return MapLayer(name, "maps", (b, c))
        return MapLayer(name, "channels_last", (a, b)) if fits(a, b) else None
    if output.ndim != 3:
        return None
    for prefix in dict.fromkeys((getattr(network, "num_prefix_tokens", 0), 0, 1, 2)):
        places = output.shape[1] - prefix
        rows = round((places * height / width) ** 0.5) if places > 0 else 0
        if rows and rows * (places // rows) == places and fits(rows, places // rows):
            return MapLayer(name, "tokens", (rows, places // rows), prefix)
    return None


def _search(subject: Subject) -> MapLayer:
    one = subject.rows(torch.zeros(1, dtype=torch.long, device=subject.image.device))
    network, (height, width) = subject.network, subject.image.shape[-2:]
    named = getattr(network, "cam_layer", None)
    names = [named] if named else [name for name, layer in network.named_modules() if name and not _is_holder(layer)]
    with torch.enable_grad(), recorded(network, names) as record:
        score = one.score(network(one.image.detach().requires_grad_(), *one.inputs[1:])).sum()
    channels = None if named else getattr(network, "num_features", None)
    seen = [(layer, output) for name, output in record if (layer := layer_of(name, output, height, width, network))]
    fitting = [(layer, it) for layer, it in seen if channels in (None, layer.as_maps(it).shape[1])] or seen
    gradients = torch.autograd.grad(score, [it for _, it in fitting], allow_unused=True) if fitting else ()
    for (layer, _), gradient in reversed(list(zip(fitting, gradients, strict=True))):
        if gradient is not None and bool((layer.as_maps(gradient) != 0).any()):
            return layer
    kind = type(network).__name__
    if fitting:
        raise ExplainError(
            "A class-activation map needs places that the score depends on. Got a gradient of 0 at every place of "
            f"{', '.join(layer.name for layer, _ in fitting[-3:])} in {kind}. Ask for another class; where all give "
            "this, nothing in the image reaches the network's classifier."
        )
    raise ExplainError(
        f"A class-activation map needs a layer with places. Got {kind} without one. "
        "Choose an explainer that reads pixels: occlusion or integrated_gradients."
    )


def _is_holder(layer: nn.Module) -> bool:
    return isinstance(layer, nn.ModuleList | nn.ModuleDict)
