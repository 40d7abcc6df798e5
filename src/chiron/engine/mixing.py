"""Mixup and CutMix: each image of a batch and its partner become one, and the loss asks for both.

Partners are neighbors in the order of the epoch: places 0 and 1, 2 and 3, and so on, which is drawn at random. So
whatever cuts a batch at even places, into processes or into parts, leaves partners together, and changes nothing.
Source: Zhang et al. 2018, arXiv:1710.09412 (Mixup); Yun et al. 2019, arXiv:1905.04899 (CutMix).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiron.core.hashing import seed_of
from chiron.spec.train_recipe import TrainRecipe


@dataclass(frozen=True)
class Mix:
    """How the images of one step are mixed."""

    own_share: float  # of the image itself, lambda in both papers
    box: tuple[float, float] | None = None  # CutMix: center of the box that the partner fills, shares of the sides

    def apply(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n c h w"], float]:
        """The mixed images, and the share that each keeps of itself (of whole pixels, where a box is cut)."""
        others = images[partners(len(images)).to(images.device, non_blocking=True)]
        if self.box is None:
            return torch.lerp(others, images, self.own_share), self.own_share
        height, width = images.shape[-2:]
        top, bottom = _side(height, self.box[0], self.own_share)
        left, right = _side(width, self.box[1], self.own_share)
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _side(length: int, center: float, own_share: float) -> tuple[int, int]:
    """First and past-the-last pixel of the box along one side; what lies outside of the image is cut off."""
    half = int(length * np.sqrt(1 - own_share)) // 2
    middle = int(center * length)
    return max(0, middle - half), min(length, middle + half)


def partners(count: int) -> Int[Tensor, "n"]:
    """The place of each image's partner; the last of an odd number is its own."""
    places = torch.arange(count) ^ 1
    return places.clamp(max=count - 1)


def draw_mix(train: TrainRecipe, *, epoch: int, step: int) -> Mix | None:
    """The mix of one step of the whole batch, a function of (seed, epoch, step); None where nothing is mixed."""
    alphas = {"mixup": train.mixup_alpha, "cutmix": train.cutmix_alpha}
    wanted = [kind for kind, alpha in alphas.items() if alpha > 0]
    if not wanted or epoch < train.mix_from_epoch:
        return None
    random = np.random.Generator(np.random.Philox(key=seed_of("mix", train.seed, epoch, step)))
    kind = wanted[int(random.integers(len(wanted)))]
    own_share = float(random.beta(alphas[kind], alphas[kind]))
    if kind == "mixup":
        return Mix(own_share)
    return Mix(own_share, box=(float(random.random()), float(random.random())))


def cut_in_pairs(count: int, parts: int) -> list[slice]:
    """Places 0 to `count` in at most so many parts of nearly equal size, each beginning at an even place.

    None is a single image, unless it is all that there is: BatchNorm needs two.
    """
    pairs = max(1, count // 2)
    borders = [*(np.linspace(0, pairs, min(parts, pairs) + 1).round().astype(int) * 2)[:-1], count]
    return [slice(int(a), int(b)) for a, b in pairwise(borders)]
