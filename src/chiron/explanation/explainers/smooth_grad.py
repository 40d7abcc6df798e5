"""SmoothGrad: the mean gradient at the pixels of many noisy copies of the image; its size, whatever its direction.

Source: Smilkov et al. 2017, arXiv:1706.03825; the largest over the channels as in Simonyan et al. 2014,
arXiv:1312.6034, section 3.1.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.subject import Subject

TITLE = "SmoothGrad"
CLASS_SPECIFIC = True
NUM_COPIES = 24
COST = f"{NUM_COPIES} forward and backward passes"
NOISE = 0.15  # standard deviation, share of the range of the image's values; the paper has 0.1 to 0.2


def why_not(subject: Subject) -> str | None:
    """None: any network has a gradient at its pixels."""
    return None


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _h _w"]:
    """One map an image, a value a pixel. The noise is the same for every image of a seed."""
    image = subject.image.detach()
    low, high = image.amin(dim=(1, 2, 3), keepdim=True), image.amax(dim=(1, 2, 3), keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(NUM_COPIES, *image.shape[1:], generator=generator).to(image)
    total = torch.zeros_like(image)
    for part in noise.split(max(1, subject.num_at_once // len(subject))):
        total += _gradients(subject, image + NOISE * (high - low) * part[:, None])
    return (total / NUM_COPIES).abs().amax(dim=1)


def _gradients(subject: Subject, copies: Float[Tensor, "n b c h w"]) -> Float[Tensor, "b c h w"]:
    """The sum over the copies of the gradient of each image's score at its pixels."""
    num_copies = len(copies)
    places = torch.arange(len(subject), device=copies.device).repeat(num_copies)
    image = rearrange(copies, "n b c h w -> (n b) c h w").requires_grad_()
    several = subject.rows(places).showing(image)
    with torch.enable_grad():
        score = several.score(several.outputs()).sum()
    return rearrange(torch.autograd.grad(score, image)[0], "(n b) c h w -> n b c h w", n=num_copies).sum(dim=0)
