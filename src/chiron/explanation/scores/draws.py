"""Random numbers of an image: a function of its pixels and of names, so that a score does not depend on the batch."""

import torch
from jaxtyping import Float
from torch import Tensor

from chiron.core.hashing import seed_of, sha256_bytes

__all__ = ["drawn"]


def drawn(images: Float[Tensor, "b _c _h _w"], shape: tuple[int, ...], *names: int | str) -> Float[Tensor, "b *_shape"]:
    """Standard normal numbers of `shape` for each image, on the images' device; the global generator is not touched.

    Args:
        names: what they are for, and the seed.
    """
    made = []
    for image in images.detach().cpu():
        generator = torch.Generator().manual_seed(seed_of(sha256_bytes(image.numpy().tobytes()), *names))
        made.append(torch.randn(shape, generator=generator))
    return torch.stack(made).to(images.device)
