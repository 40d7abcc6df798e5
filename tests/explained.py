"""Subjects of small networks with random weights, for tests of explainers."""

from functools import lru_cache

import timm
import torch
from torch import Tensor, nn

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.explanation.subject import Subject
from chiron.spec.labels import LabelSpace

SIZELESS = ("fair_cnn", "convnextv2", "densenet")  # these take any size, and no argument for it
LABELS = LabelSpace(names=("a", "b", "c"))


@lru_cache
def network_of(name: str, img_size: int | tuple[int, int] = 64) -> nn.Module:
    """A network in evaluation mode with random weights, large enough to tell places apart."""
    torch.manual_seed(0)
    sized = {} if any(it in name for it in SIZELESS) else {"img_size": img_size}
    network = timm.create_model(name, num_classes=3, **sized).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    return network


def subject_of(network: nn.Module | str, image: Tensor | None = None, classes: tuple[int, ...] = (0, 1, 2)) -> Subject:
    """Random images, or those given, and a class for each."""
    built = network_of(network) if isinstance(network, str) else network
    if image is None:
        image = torch.randn(len(classes), 3, 64, 64, generator=torch.Generator().manual_seed(1))
    inputs = (image, sided_masks(len(classes))) if "mask" in getattr(built, "input_names", ()) else (image,)
    return Subject(built, inputs, torch.tensor(classes), LABELS)


def sided_masks(count: int, size: int = 64) -> Tensor:
    """Masks whose middles differ: they part the images at 5/16, 10/16, 5/16, ... of the width."""
    masks = torch.zeros(count, 1, size, size)
    masks[0::2, ..., : size * 5 // 8] = 1
    masks[1::2, ..., size // 4 :] = 1
    return masks
