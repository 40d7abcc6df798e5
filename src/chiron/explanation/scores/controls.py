"""Maps that know nothing of the network: what an explainer has to beat.

`CONTROLS` are maps to compare with where findings are known. `reshuffled` makes random maps of one that is at hand.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from chiron.explanation.scores.draws import drawn
from chiron.explanation.subject import Subject

__all__ = ["CONTROLS", "center_prior", "edge_map", "random_map", "reshuffled"]

CENTER_SHARE = 1 / 4  # of the image's sides: standard deviation of the center prior
RANDOM_GRID = 7  # places along each side of a random map: that of a usual class-activation map


def edge_map(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b h w"]:
    """Size of the brightness's gradient by Sobel's filters, of the mean over channels; the frame is no edge."""
    brightness = functional.pad(subject.image.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=brightness.device)
    gradient = functional.conv2d(brightness, torch.stack([across, across.T])[:, None])
    return gradient.square().sum(dim=1).sqrt()


def center_prior(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b h w"]:
    """A Gaussian about the center, the same for every image."""
    height, width = subject.image.shape[-2:]
    rows, columns = (((torch.arange(size) + 0.5) / size - 0.5) / CENTER_SHARE for size in (height, width))
    prior = torch.exp(-(rows[:, None].square() + columns.square()) / 2)
    return prior.to(subject.image).expand(len(subject), height, width)


def random_map(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """Uniform values on a coarse grid, smooth once enlarged."""
    return torch.special.ndtr(drawn(subject.image, (RANDOM_GRID, RANDOM_GRID), "random map", seed))


CONTROLS: dict[str, Callable[..., Tensor]] = {"edges": edge_map, "center": center_prior, "random": random_map}


def reshuffled(
    maps: Float[Tensor, "b gh gw"], images: Float[Tensor, "b _c _h _w"], *, num_draws: int, seed: int = 0
) -> Float[Tensor, "b draws gh gw"]:
    """Random maps with the values of a map, dealt to other places so that they are as smooth as it is.

    A field with the map's own power spectrum and random phases says which place gets which value. Dealt without regard
    to neighbors, the values of a fine map would be noise, which harms an image in another way than patches do.

    Source: Theiler et al. 1992, doi:10.1016/0167-2789(92)90102-S (surrogate data, adjusted to the values), in two
    dimensions.
    """
    noise = drawn(images, (num_draws, *maps.shape[1:]), "reshuffled", seed)
    spectrum = torch.fft.rfft2(maps[:, None] - maps.mean(dim=(1, 2))[:, None, None, None]).abs()
    random_phase = torch.fft.rfft2(noise)
    field = torch.fft.irfft2(spectrum * random_phase / random_phase.abs().clamp_min(1e-12), s=maps.shape[1:])
    order = field.flatten(2).argsort(dim=2)
    values = maps.flatten(1).sort(dim=1).values[:, None].expand(-1, num_draws, -1)
    return torch.empty_like(values).scatter_(2, order, values).unflatten(2, maps.shape[1:])
