"""What deletion, insertion and ROAD share: in which order places go, and probabilities of many changed images."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from chiron.explanation.subject import Subject

__all__ = ["AT_ONCE", "enlarged", "removal_rank", "variant_probabilities"]

AT_ONCE = 64  # changed images that the network sees at once, which bounds the memory

Variants = Callable[[Int[Tensor, "n"], Int[Tensor, "n"]], Float[Tensor, "n _c _h _w"]]


def enlarged(maps: Float[Tensor, "b _gh _gw"], size: Sequence[int]) -> Float[Tensor, "b h w"]:
    """Maps at another size, bilinear, with their values as they are."""
    return functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear")[:, 0]


def removal_rank(maps: Float[Tensor, "b k _gh _gw"], ties: Float[Tensor, "b h w"]) -> Int[Tensor, "b k h w"]:
    """The place of each pixel in the order from the map's largest value to its smallest: 0 goes first.

    Args:
        maps: k maps of each image.
        ties: random numbers. Pixels of equal value, such as those that a map leaves at 0, go in their order: in the
            order of rows, a blank half would be removed from the top.
    """
    values = functional.interpolate(maps, size=ties.shape[1:], mode="bilinear").flatten(2)
    shuffle = ties.flatten(1).argsort(dim=1)[:, None].expand_as(values)
    order = shuffle.gather(2, values.gather(2, shuffle).argsort(dim=2, descending=True, stable=True))
    places = torch.arange(values.shape[2], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(2, order, places).unflatten(2, ties.shape[1:])


@torch.no_grad()
def variant_probabilities(subject: Subject, num_variants: int, variants: Variants) -> Float[Tensor, "b variants"]:
    """The probability of each image's class in each of its variants, `AT_ONCE` images at a time.

    Args:
        variants: rows of the subject and numbers of variants, one pair an image -> the changed images.
    """
    rows = torch.arange(len(subject), device=subject.image.device).repeat_interleave(num_variants)
    numbers = torch.arange(num_variants, device=rows.device).repeat(len(subject))
    probs = []
    for row, number in zip(rows.split(AT_ONCE), numbers.split(AT_ONCE), strict=True):
        shown = subject.rows(row).showing(variants(row, number))
        probs.append(shown.probability(shown.outputs()))
    return torch.cat(probs).unflatten(0, (len(subject), num_variants))
