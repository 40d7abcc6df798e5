"""Deletion and insertion: how fast the probability falls or rises as the map's places go or come, most important first.

Source: Petsiuk, Das, Saenko 2018, RISE, arXiv:1806.07421, section 4.3. Deleted places take the image's own mean color,
so that no brightness comes in that the image has not; inserted ones come into a blurred image. Both areas depend on the
network more than on the map: each is told against random maps of the same values and smoothness.
"""

from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2 import functional as image_functional

from chiron.explanation.scores.controls import reshuffled
from chiron.explanation.scores.draws import drawn
from chiron.explanation.scores.perturbation import removal_rank, variant_probabilities
from chiron.explanation.subject import Subject

__all__ = ["AgainstRandom", "blurred", "curves", "deletion", "insertion", "mean_color"]

NUM_STEPS = 20  # each moves a twentieth of the places
NUM_CONTROLS = 4  # random maps an image, whose areas are averaged
BLUR_SHARE = 1 / 16  # of the shorter side: standard deviation of the blur, 14 pixels of 224


@dataclass(frozen=True)
class AgainstRandom:
    """The area under the curve, from 0 to 1, and by how much it is better than that of random maps."""

    area: Float[Tensor, "b"]
    gain: Float[Tensor, "b"]


def deletion(subject: Subject, maps: Float[Tensor, "b _gh _gw"], *, seed: int = 0) -> AgainstRandom:
    """From the image to its mean color. A small area is good; the gain is the random maps' area minus the map's."""
    areas = _areas(subject, maps, subject.image, mean_color(subject.image), seed)
    return AgainstRandom(areas[:, 0], areas[:, 1:].mean(1) - areas[:, 0])


def insertion(subject: Subject, maps: Float[Tensor, "b _gh _gw"], *, seed: int = 0) -> AgainstRandom:
    """From a blurred image to the image. A large area is good; the gain is the map's area minus the random maps'."""
    areas = _areas(subject, maps, blurred(subject.image), subject.image, seed)
    return AgainstRandom(areas[:, 0], areas[:, 0] - areas[:, 1:].mean(1))


def curves(
    subject: Subject,
    maps: Float[Tensor, "b k _gh _gw"],
    start: Float[Tensor, "b c h w"],
    end: Float[Tensor, "b c h w"],
    *,
    seed: int = 0,
) -> Float[Tensor, "b k steps"]:
    """The probability after 0, 1, ... `NUM_STEPS` steps, as `start` takes the pixels of `end` by each of k maps."""
    ties = drawn(subject.image, tuple(subject.image.shape[-2:]), "ties", seed)
    rank, num_points = removal_rank(maps, ties), NUM_STEPS + 1
    counts = torch.linspace(0, ties[0].numel(), num_points, device=rank.device).round()

    def variants(rows: Tensor, numbers: Tensor) -> Tensor:
        taken = rank[rows, numbers // num_points] < counts[numbers % num_points, None, None]
        return torch.where(taken[:, None], end[rows], start[rows])

    return variant_probabilities(subject, maps.shape[1] * num_points, variants).unflatten(1, (-1, num_points))


def mean_color(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Images that are their own mean in every place."""
    return image.mean(dim=(2, 3), keepdim=True).expand_as(image)


def blurred(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Images under a Gaussian blur of `BLUR_SHARE` of their shorter side."""
    sigma = BLUR_SHARE * min(image.shape[-2:])
    return image_functional.gaussian_blur(image, [2 * ceil(3 * sigma) + 1] * 2, [sigma, sigma])


def _areas(
    subject: Subject,
    maps: Float[Tensor, "b _gh _gw"],
    start: Float[Tensor, "b c h w"],
    end: Float[Tensor, "b c h w"],
    seed: int,
) -> Float[Tensor, "b k"]:
    """Areas of the map, first, and of its controls."""
    controls = reshuffled(maps, subject.image, num_draws=NUM_CONTROLS, seed=seed)
    probs = curves(subject, torch.cat([maps[:, None], controls], dim=1), start, end, seed=seed)
    return torch.trapezoid(probs, dx=1 / NUM_STEPS, dim=2)
