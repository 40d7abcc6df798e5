"""Integrated gradients: the gradient along the way from the mean image to this one, times the way; positive part.

The attributions of an image sum to the difference of its score to that of the mean image, which is 0 after
normalization. That is checked: steps are doubled until the gap is within 1 % of all attributions.
Source: Sundararajan et al. 2017, arXiv:1703.01365, by captum (Gauss-Legendre steps).
"""

import torch
from captum.attr import IntegratedGradients
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from chiron.core.errors import ExplainError
from chiron.explanation.subject import Subject

TITLE = "Integrated gradients"
CLASS_SPECIFIC = True
COST = "32 to 256 forward and backward passes"
STEPS = (32, 64, 128, 256)
LARGEST_GAP = 0.01  # share of the sum of all absolute attributions


def why_not(subject: Subject) -> str | None:
    """None: any network has a gradient at its pixels."""
    return None


def explain(subject: Subject, *, seed: int = 0) -> Float[Tensor, "b _h _w"]:
    """One map an image, a value a pixel: the sum over the channels, where it speaks for the class.

    Raises:
        ExplainError: the attributions do not add up.
    """
    return attributions(subject).sum(dim=1).relu()


def attributions(subject: Subject) -> Float[Tensor, "b c h w"]:
    """What each value of the image adds to the score of its class, compared with the mean image.

    Raises:
        ExplainError: they do not add up to the difference of the scores.
    """
    made = torch.zeros_like(subject.image)
    left = torch.arange(len(subject), device=made.device)
    for num_steps in STEPS:
        made[left], gaps = _integrate(subject.rows(left), num_steps)
        allowed = LARGEST_GAP * reduce(made[left].abs(), "b c h w -> b", "sum")
        left, gaps = left[gaps > allowed], (gaps / allowed)[gaps > allowed]
        if not len(left):
            return made
    raise ExplainError(
        f"Integrated gradients must sum to the difference of the scores, within {LARGEST_GAP:.0%} of all attributions. "
        f"Got {LARGEST_GAP * float(gaps[0]):.1%} for image {int(left[0])} of the batch after {STEPS[-1]} steps. "
        "Choose smooth_grad or occlusion."
    )


def _integrate(subject: Subject, num_steps: int) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b"]]:
    """Attributions, and by how much their sum misses the difference of the scores."""

    def score(image: Tensor, classes: Tensor, *masks: Tensor) -> Tensor:
        several = Subject(subject.network, (image, *masks), classes, subject.labels)
        return several.score(several.outputs())

    made, gaps = IntegratedGradients(score).attribute(
        subject.image.detach(),
        baselines=0,
        additional_forward_args=(subject.classes, *subject.inputs[1:]),
        n_steps=num_steps,
        internal_batch_size=max(len(subject), subject.num_at_once),
        return_convergence_delta=True,
    )
    return made.detach().to(subject.image.dtype), gaps.detach().abs()
