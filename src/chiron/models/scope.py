"""ScopeDistance: how unlike the training images a picture is. Layers of a bundle, and part of exported graphs.

It looks at what the network is given, not at what the network makes of it: a thumbnail, and how much of each channel
lies in details of several sizes. `experiments/LOG.md` has the measurement: in small networks trained from scratch the
features before the classifier took pictures of another modality for more typical than the training's own.
Shapes: B batch, C channels, S pixels a side, D statistics, K main directions.
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ScopeDistance", "fit_scope_distance"]

_THUMBNAIL, _SIZES_OF_DETAIL = 8, 4
_DIRECTIONS, _CASES_A_DIRECTION = 64, 10
_LEAST_ENERGY = 1e-6  # of detail, before the logarithm; inputs are normalized, so that 1 is a usual deviation


class ScopeDistance(nn.Module):
    """Mahalanobis distance of the picture's statistics in their main directions; what lies outside has one variance.

    1 is the distance of a typical training image.
    """

    averages: Tensor

    def __init__(self, *, img_size: int, in_chans: int, directions: int) -> None:
        super().__init__()
        self.levels = sum(img_size >> level >= 2 for level in range(_SIZES_OF_DETAIL))
        width = in_chans * (_THUMBNAIL**2 + self.levels)
        self.register_buffer("averages", _area_averages(img_size), persistent=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("axes", torch.zeros(width, directions))  # main directions, of length 1
        self.register_buffer("variance", torch.ones(directions))  # along them
        self.register_buffer("rest", torch.ones(()))  # variance of all other directions
        self.register_buffer("typical", torch.ones(()))  # the median distance of training images

    def statistics(self, image: Float[Tensor, "b c s s"]) -> Float[Tensor, "b d"]:
        """A thumbnail, and for details of 2, 4, 8 and 16 px the logarithm of what each channel holds of them."""
        told = [torch.einsum("th,bchw,uw->bctu", self.averages, image, self.averages).flatten(1)]
        for _ in range(self.levels):
            coarse = functional.avg_pool2d(image, 2)
            height, width = coarse.shape[-2:]
            blocks = image[..., : 2 * height, : 2 * width].unflatten(3, (width, 2)).unflatten(2, (height, 2))
            fine = blocks - coarse[..., :, None, :, None]
            told.append(torch.log(fine.square().mean(dim=(2, 3, 4, 5)) + _LEAST_ENERGY))
            image = coarse
        return torch.cat(told, dim=1)

    def forward(self, image: Float[Tensor, "b c s s"]) -> Float[Tensor, "b"]:
        """The distance of each image, as the network is given it (after `Finish`), without its mask."""
        return self.distance_of(self.statistics(image))

    def distance_of(self, statistics: Float[Tensor, "b d"]) -> Float[Tensor, "b"]:
        """The distance of images whose statistics these are."""
        away = statistics - self.mean
        inside = away @ self.axes
        outside = (away - inside @ self.axes.T).square().sum(dim=1) / self.rest
        return torch.sqrt((inside.square() / self.variance).sum(dim=1) + outside) / self.typical


def _area_averages(img_size: int) -> Float[Tensor, "t s"]:
    """The matrix that averages a side over equal parts; a pixel between two parts counts for both by its share.

    A product with it is what every runtime computes alike; pooling to a size that does not divide is not.
    """
    edges = torch.linspace(0, img_size, _THUMBNAIL + 1, dtype=torch.float64)
    pixels = torch.arange(img_size, dtype=torch.float64)
    ends = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    shares = ends.clamp(min=0)
    return (shares / shares.sum(dim=1, keepdim=True)).float()


@torch.no_grad()
def fit_scope_distance(
    image_batches: Iterable[Float[Tensor, "_b c s s"]], *, img_size: int, in_chans: int
) -> ScopeDistance:
    """The distance from these training images, at least one, given as the network is given them."""
    plain = ScopeDistance(img_size=img_size, in_chans=in_chans, directions=1)
    statistics = torch.cat([plain.statistics(batch) for batch in image_batches])
    found, count = statistics.double().numpy(), len(statistics)
    mean = found.mean(axis=0)
    away = found - mean
    values, axes = np.linalg.eigh(away.T @ away / max(count - 1, 1))  # rising
    kept = max(1, min(_DIRECTIONS, count // _CASES_A_DIRECTION, len(mean) - 1))
    values, axes = values[::-1].clip(min=0), axes[:, ::-1]
    rest = max(float(values[kept:].mean()), 1e-4 * float(values.mean()), 1e-8)
    made = ScopeDistance(img_size=img_size, in_chans=in_chans, directions=kept)
    made.mean.copy_(torch.from_numpy(mean))
    made.axes.copy_(torch.from_numpy(axes[:, :kept].copy()))
    made.variance.copy_(torch.from_numpy(np.maximum(values[:kept], rest)))
    made.rest.fill_(rest)
    made.typical.copy_(made.distance_of(statistics).median().clamp(min=1e-6))
    return made
