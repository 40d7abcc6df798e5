"""Where findings are known: whether a map points at them. NaN for an image without a finding."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from chiron.explanation.scores.perturbation import enlarged

__all__ = ["LOCALIZATION", "TOLERANCE_SHARE", "energy", "iou", "pointing"]

TOLERANCE_SHARE = 15 / 224  # of the shorter side; the usual 15 pixels at 224


def pointing(maps: Float[Tensor, "b gh gw"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b"]:
    """1 where the center of the map's largest place lies within `TOLERANCE_SHARE` of a finding, otherwise 0.

    Of several places that share the largest value, more than half must lie there.

    Source: Zhang et al. 2018, Top-down neural attention by excitation backprop, arXiv:1608.00507, section 4.1.
    """
    size = np.array(masks.shape[1:])
    hits = []
    for own, mask in zip(maps.cpu().numpy(), masks.cpu().numpy(), strict=True):
        if not mask.any():
            hits.append(np.nan)
            continue
        pixels = ((np.argwhere(own == own.max()) + 0.5) * size / own.shape).astype(int)
        distance = distance_transform_edt(~mask)[tuple(pixels.T)]
        hits.append(float(np.mean(distance <= TOLERANCE_SHARE * size.min()) > 0.5))
    return torch.tensor(hits, dtype=maps.dtype, device=maps.device)


def iou(maps: Float[Tensor, "b _gh _gw"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b"]:
    """Intersection over union of the findings and of as many pixels, those where the map is largest; 1 is best.

    Pixels of the same value as the last one taken count in part, so that their order does not matter.
    """
    values, inside = enlarged(maps, masks.shape[1:]).flatten(1), masks.flatten(1)
    area = inside.sum(dim=1, keepdim=True)
    last = values.sort(dim=1, descending=True).values.gather(1, (area - 1).clamp_min(0))
    above, tied = values > last, values == last
    taken = above + tied * (area - above.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
    shared = (taken * inside).sum(dim=1)
    return _where_found(shared / (2 * area[:, 0] - shared), inside)


def energy(maps: Float[Tensor, "b _gh _gw"], masks: Bool[Tensor, "b h w"]) -> Float[Tensor, "b"]:
    """The share of the map's sum that lies in the findings; NaN for a map that is 0 everywhere.

    Source: Wang et al. 2020, Score-CAM, arXiv:1910.01279, section 4.3.
    """
    values, inside = enlarged(maps, masks.shape[1:]).flatten(1), masks.flatten(1)
    return _where_found((values * inside).sum(dim=1) / values.sum(dim=1), inside)


LOCALIZATION = {"pointing": pointing, "iou": iou, "energy": energy}


def _where_found(score: Float[Tensor, "b"], inside: Bool[Tensor, "b n"]) -> Float[Tensor, "b"]:
    return torch.where(inside.any(dim=1), score, torch.nan)
