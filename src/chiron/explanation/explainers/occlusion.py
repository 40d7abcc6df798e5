"""Occlusion: how far the score falls when a window of the image is covered by the mean color; positive part.

The window has an eighth of each side and moves by half of itself; a pixel's value is the mean over the windows that
cover it. No gradient is taken. Source: Zeiler & Fergus 2014, arXiv:1311.2901, by captum.
"""

import torch
from captum.attr import Occlusion
from jaxtyping import Float
from torch import Tensor

from chiron.explanation.subject import Subject

TITLE = "Occlusion"
CLASS_SPECIFIC = True
COST = "about 226 forward passes"
WINDOWS_A_SIDE = 8


def why_not(subject: Subject) -> str | None:
    """None: any image can be covered."""
    return None


@torch.no_grad()
def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _h _w"]:
    """One map an image, a value a pixel."""

    def score(image: Tensor, classes: Tensor, *masks: Tensor) -> Tensor:
        several = Subject(subject.network, (image, *masks), classes, subject.labels)
        return several.score(several.outputs())

    num_images, channels, height, width = subject.image.shape
    window = tuple(max(1, side // WINDOWS_A_SIDE) for side in (height, width))
    falls = Occlusion(score).attribute(
        subject.image,
        sliding_window_shapes=(channels, *window),
        strides=(channels, *(max(1, side // 2) for side in window)),
        baselines=0,
        additional_forward_args=(subject.classes, *subject.inputs[1:]),
        perturbations_per_eval=max(1, subject.num_at_once // num_images),
    )
    return falls[:, 0].relu()  # all channels are covered together
