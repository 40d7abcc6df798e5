"""A look into the network for loggers: gradients, feature maps of one val image, and that image."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from chiron.engine.setup import Setup
from chiron.engine.sharding import whole_tensor
from chiron.models.stages import layers_of_stages

GRID = 4  # feature maps a side: the first 16 channels


def gradients(model: nn.Module) -> dict[str, Float[np.ndarray, "_n"]]:
    """The gradient of the epoch's last step by parameter; those that do not learn have none.

    Of a network that is sharded all processes call this.
    """
    return {
        f"Gradients/{name}": whole_tensor(parameter.grad).detach().float().flatten().cpu().numpy()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def input_image(setup: Setup) -> dict[str, UInt8[np.ndarray, "_height _width 3"]]:
    """The first val image as the network gets it, with the normalization undone."""
    spec = setup.recipe.input
    image = setup.finish(_first_image(setup))[0][0].cpu().numpy()
    mean, std = (np.reshape(v, (-1, 1, 1)) for v in (spec.channel_mean, spec.channel_std))
    pixels = np.rint(255 * np.clip(image * std + mean, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return {"InputImage/Sample_0": np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels}


@torch.no_grad()
def feature_maps(setup: Setup, network: nn.Module) -> dict[str, UInt8[np.ndarray, "_height _width 3"]]:
    """What each stage but the head makes of the first val image: its first channels side by side, each in full range.

    A stage's output is that of the last layer in it whose output is a map, or tokens that form one.
    """
    outputs: dict[str, Tensor] = {}
    hooks = []
    for stage, layers in layers_of_stages(network).items():

        def keep(layer: nn.Module, inputs: object, output: object, stage: str = stage) -> None:
            if (maps := _as_maps(output, layout=getattr(network, "output_fmt", "NCHW"))) is not None:
                outputs[stage] = maps

        hooks += [network.get_submodule(name).register_forward_hook(keep) for name in layers]
    try:
        setup.classifier_of(network).logits(_first_image(setup))
    finally:
        for hook in hooks:
            hook.remove()
    return {f"FeatureMaps/{stage}/Sample_0": _grid(maps) for stage, maps in outputs.items()}


def _first_image(setup: Setup) -> Tensor:
    pixels, _ = setup.val_images[0]
    return pixels[None].to(setup.runtime.device)


def _as_maps(output: object, *, layout: str) -> Float[Tensor, "_c _h _w"] | None:
    """The first image's maps, of (n, c, h, w), timm's (n, h, w, c), or tokens (n, tokens, width) of a square grid."""
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return None
    if output.ndim == 4:
        maps = output[0] if layout == "NCHW" else output[0].permute(2, 0, 1)
    elif output.ndim == 3 and (side := int(output.shape[1] ** 0.5)) > 1:
        maps = output[0, -(side**2) :].T.unflatten(1, (side, side))  # class tokens stand before the grid
    else:
        return None
    return maps.float().cpu() if min(maps.shape[1:]) > 1 else None


def _grid(maps: Float[Tensor, "_c _h _w"]) -> UInt8[np.ndarray, "_height _width 3"]:
    from matplotlib import colormaps

    shown = np.zeros((GRID**2, *maps.shape[1:]))
    for place, plane in enumerate(maps[: GRID**2].numpy()):
        shown[place] = (plane - plane.min()) / max(float(np.ptp(plane)), 1e-12)
    height, width = maps.shape[1:]
    pasted = shown.reshape(GRID, GRID, height, width).transpose(0, 2, 1, 3).reshape(GRID * height, GRID * width)
    return np.rint(255 * colormaps["viridis"](pasted)[..., :3]).astype(np.uint8)
