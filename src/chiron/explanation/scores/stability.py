"""Stability: whether a map stays what it is under small noise, for the same class."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.scores.draws import drawn
from chiron.explanation.scores.rank_correlation import rank_correlation
from chiron.explanation.subject import Subject

__all__ = ["NOISE_SHARE", "NUM_DRAWS", "stability"]

NOISE_SHARE = 0.02  # standard deviation as a share of each channel's range: 5 gray levels where all 256 are used
NUM_DRAWS = 4


def stability(
    subject: Subject, maps: Float[Tensor, "b _gh _gw"], explain: Callable[[Subject], Tensor], *, seed: int = 0
) -> Float[Tensor, "b"]:
    """Mean rank correlation of a map with those of `NUM_DRAWS` noisy copies of its image; 1 is best.

    Normalization is linear in each channel, so that the share is the same one in pixel values.
    """
    image = subject.image
    span = image.amax(dim=(2, 3), keepdim=True) - image.amin(dim=(2, 3), keepdim=True)
    noise = drawn(image, (NUM_DRAWS, *image.shape[1:]), "stability", seed)
    alike = [
        rank_correlation(maps, explain(subject.showing(image + NOISE_SHARE * span * noise[:, k])))
        for k in range(NUM_DRAWS)
    ]
    return torch.stack(alike).mean(dim=0)
