"""`finish`: the last of the three steps that change pixels; final size, 0..1, normalize. Part of the exported graph."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from chiron.spec.input_spec import InputSpec

# Half, less a hair: a pixel that is exactly half covered is inside, however a warp's arithmetic rounds it.
_INSIDE = 0.499


class Finish(nn.Module):
    """From stored pixel values to the network's inputs.

    Takes uint8, uint16 or float pixels in the value range of the InputSpec's bit depth, so that augmented images
    (floats, already of the final size) and stored ones go through the same code.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.img_size, self.in_chans = spec.img_size, spec.in_chans
        self.threshold = _INSIDE * spec.max_value
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (spec.channel_mean, spec.channel_std))
        # Not saved: they belong to the InputSpec, which the bundle keeps.
        self.register_buffer("scale", (1 / (spec.max_value * std)).float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).float().view(1, -1, 1, 1), persistent=False)

    def forward(
        self, pixels: Shaped[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch _ s s"], ...]:
        """The network's inputs in order: the normalized image and, where the pixels hold one, its mask of 0 and 1."""
        values = pixels.to(self.scale.dtype)
        if pixels.shape[-2:] != (self.img_size, self.img_size):
            # Not antialiased: the canonical resize has done that, and a warp with identity parameters must equal this.
            values = functional.interpolate(values, size=(self.img_size, self.img_size), mode="bilinear")
        image, mask = values[:, : self.in_chans], values[:, self.in_chans :]
        inputs = torch.addcmul(self.shift, image, self.scale)  # (value / max - mean) / std in one pass
        return (inputs, (mask >= self.threshold).to(inputs.dtype)) if mask.shape[1] else (inputs,)
