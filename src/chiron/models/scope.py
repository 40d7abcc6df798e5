"""ScopeDistance: how unlike the training images a picture is. Layers of a bundle, and part of exported graphs.

It looks at what the network is given, not at what the network makes of it: a thumbnail, and how much of each channel
lies in details of several sizes. `experiments/LOG.md` has the measurement: in small networks trained from scratch the
features before the classifier took pictures of another modality for more typical than the training's own. What is kept
are means of ten training images and more, so that no picture can be made of a bundle.
Shapes: B batch, C channels, S pixels a side, D statistics, E those of detail, K centers.
"""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ScopeDistance", "fit_scope_distance"]

_THUMBNAIL, _SIZES_OF_DETAIL = 8, 4
_CENTERS, _IMAGES_A_CENTER, _ROUNDS = 32, 10, 25
_LEAST_ENERGY = 1e-6  # of detail, before the logarithm; inputs are normalized, so that 1 is a usual deviation
_LEAST_DEVIATION = 1e-3
_WEIGHED_AT = 0.99  # both parts are 1 at the distance that so many training images do not exceed


class ScopeDistance(nn.Module):
    """The larger of two distances: to the nearest center of training images, and of details from the usual ones.

    The first is Euclidean, over statistics divided by their deviation; the second Mahalanobis. 1 is a typical image.
    """

    averages: Tensor
    deviation: Tensor
    centers: Tensor
    usual: Tensor
    whitening: Tensor
    scales: Tensor

    def __init__(self, *, img_size: int, in_chans: int, num_centers: int) -> None:
        super().__init__()
        self.levels = sum(img_size >> level >= 2 for level in range(_SIZES_OF_DETAIL))
        self.num_details = in_chans * self.levels
        width = in_chans * _THUMBNAIL**2 + self.num_details
        self.register_buffer("averages", _area_averages(img_size), persistent=False)
        self.register_buffer("deviation", torch.ones(width))
        self.register_buffer("centers", torch.zeros(num_centers, width))  # of statistics over their deviation
        self.register_buffer("usual", torch.zeros(self.num_details))
        self.register_buffer("whitening", torch.eye(self.num_details))
        self.register_buffer("scales", torch.ones(2))

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
        return (self.parts_of(statistics) / self.scales).amax(dim=1)

    def parts_of(self, statistics: Float[Tensor, "b d"]) -> Float[Tensor, "b 2"]:
        """Both distances, as they are."""
        away = (statistics / self.deviation)[:, None] - self.centers
        nearest = away.square().sum(dim=2).amin(dim=1)
        details = (statistics[:, -self.num_details :] - self.usual) @ self.whitening
        return torch.stack([nearest, details.square().sum(dim=1)], dim=1).sqrt()


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
    """The distance from these training images, at least one, given as the network is given them.

    Source of the rounds: Lloyd 1982, doi:10.1109/TIT.1982.1056489.
    """
    plain = ScopeDistance(img_size=img_size, in_chans=in_chans, num_centers=1)
    statistics = torch.cat([plain.statistics(batch) for batch in image_batches])
    found = statistics.double().numpy()
    deviation = np.maximum(found.std(axis=0), _LEAST_DEVIATION)
    centers = _centers(found / deviation)
    details = found[:, -plain.num_details :]
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(details.T, bias=True)))
    made = ScopeDistance(img_size=img_size, in_chans=in_chans, num_centers=len(centers))
    made.deviation.copy_(torch.from_numpy(deviation))
    made.centers.copy_(torch.from_numpy(centers))
    made.usual.copy_(torch.from_numpy(details.mean(axis=0)))
    made.whitening.copy_(torch.from_numpy(axes / np.maximum(np.sqrt(values.clip(min=0)), _LEAST_DEVIATION)))
    made.scales.copy_(torch.quantile(made.parts_of(statistics), _WEIGHED_AT, dim=0).clamp(min=_LEAST_DEVIATION))
    made.scales.mul_(made.distance_of(statistics).median().clamp(min=_LEAST_DEVIATION))
    return made


def _centers(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "k d"]:
    """Means of alike images, of at least ten each where there are so many: Lloyd's rounds from images drawn by rule.

    Groups that are smaller are dissolved; a lonely image is no picture to measure from.
    """
    count = max(1, min(_CENTERS, len(points) // _IMAGES_A_CENTER))
    centers = points[np.linspace(0, len(points) - 1, count).astype(np.int64)]
    for _ in range(_ROUNDS):
        squares = ((points[:, None] - centers) ** 2).sum(axis=2)
        nearest = squares.argmin(axis=1)
        sizes = np.bincount(nearest, minlength=len(centers))
        kept = np.flatnonzero(sizes >= min(_IMAGES_A_CENTER, len(points)))
        if not len(kept):
            return points.mean(axis=0, keepdims=True)
        centers = np.stack([points[nearest == place].mean(axis=0) for place in kept])
    return centers
