"""`finish`: the last of the three steps that change pixels; final size, 0..1, normalize. Part of the exported graph."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from chiron.spec.input_spec import InputSpec


class Finish(nn.Module):
    """From stored pixel values to the network's input.

    Takes uint8, uint16 or float pixels in the value range of the InputSpec's bit depth, so that augmented images
    (floats, already of the final size) and stored ones go through the same code.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.img_size = spec.img_size
        self.max_value = float(spec.max_value)
        # Not saved: they belong to the InputSpec, which the bundle keeps.
        self.register_buffer("mean", torch.tensor(spec.channel_mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.channel_std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Shaped[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels s s"]:
        unit = pixels.to(self.mean.dtype) / self.max_value
        if pixels.shape[-2:] != (self.img_size, self.img_size):
            # Not antialiased: the canonical resize has done that, and a warp with identity parameters must equal this.
            unit = functional.interpolate(unit, size=(self.img_size, self.img_size), mode="bilinear")
        return (unit - self.mean) / self.std
