"""Networks whose right explanation is known: what scores of maps are tried on."""

import torch
from torch import nn

from chiron.explanation.subject import Subject
from chiron.spec.labels import LabelSpace

ONE_LOGIT = LabelSpace(names=("well", "sick"), positive="sick", one_logit=True)


class LinearPixels(nn.Module):
    """z is a weighted sum of pixels, so that what a pixel gives is its weight times its value."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (self.weight * image).sum(dim=(1, 2, 3))[:, None]


def linear_subject(*, num_images: int = 4, size: int = 12, channels: int = 2, seed: int = 0) -> Subject:
    """Images of noise before a linear network, asked for its positive class."""
    random = torch.Generator().manual_seed(seed)
    network = LinearPixels(0.1 * torch.randn((channels, size, size), generator=random)).eval()
    image = torch.randn((num_images, channels, size, size), generator=random)
    return Subject(network, (image,), torch.ones(num_images, dtype=torch.long), ONE_LOGIT)


def contributions(subject: Subject) -> torch.Tensor:
    """What each pixel adds to z in place of the image's mean color: the exact map, signed."""
    image = subject.image
    return (subject.network.weight * (image - image.mean(dim=(2, 3), keepdim=True))).sum(dim=1).detach()


def gradient_map(subject: Subject) -> torch.Tensor:
    """Size of the gradient of the score at each pixel."""
    with torch.enable_grad():
        image = subject.image.detach().requires_grad_()
        shown = subject.showing(image)
        return torch.autograd.grad(shown.score(shown.outputs()).sum(), image)[0].abs().sum(dim=1)
