"""Linear imputation: each missing pixel becomes the weighted mean of its eight neighbors, all of them at once.

Source: Rong et al. 2022, arXiv:2202.00449, section 4: weight 1/6 beside, 1/12 across corners. Missing pixels that have
missing neighbors make a system of linear equations, symmetric and positive, which conjugate gradients solve for all
images and channels together.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from chiron.core.errors import ExplainError

__all__ = ["linearly_imputed"]

TOLERANCE = 1e-3  # of the residual: pixels within about a hundredth of the contrast, which is the noise that ROAD adds
MAX_ITERATIONS = 5000  # a hole of 500 x 500 pixels takes some hundreds


def linearly_imputed(
    images: Float[Tensor, "b c h w"], missing: Bool[Tensor, "b h w"], *, tolerance: float = TOLERANCE
) -> Float[Tensor, "b c h w"]:
    """The images with missing pixels filled from those around them; some pixel of each image must be there.

    Args:
        tolerance: of the residual, as a share of the right-hand side.
    Raises:
        ExplainError: the equations do not settle, for example because of NaN in an image.
    """
    hole = missing[:, None].to(images)
    known = 1 - hole
    level = (images * known).sum(dim=(2, 3), keepdim=True) / known.sum(dim=(2, 3), keepdim=True)
    right = hole * _neighbors((images - level) * known)
    filled = level + _solved(right, hole, tolerance)
    return torch.where(missing[:, None], filled, images)


def _solved(
    right: Float[Tensor, "b c h w"], hole: Float[Tensor, "b _ h w"], tolerance: float
) -> Float[Tensor, "b c h w"]:
    """Conjugate gradients, preconditioned by the diagonal, from 0. Source: Hestenes and Stiefel 1952."""
    weight_sum = _neighbors(torch.ones_like(hole))  # less than 1 at the frame, where neighbors are missing for good
    residual, solution = right, torch.zeros_like(right)
    direction = scaled = residual / weight_sum
    power = _dot(residual, scaled)
    goal = tolerance**2 * _dot(right, right)
    for _ in range(MAX_ITERATIONS):
        if bool((_dot(residual, residual) <= goal).all()):
            return solution
        applied = hole * (weight_sum * direction - _neighbors(direction))
        step = _ratio(power, _dot(direction, applied))
        solution, residual = solution + step * direction, residual - step * applied
        scaled = residual / weight_sum
        before, power = power, _dot(residual, scaled)
        direction = scaled + _ratio(power, before) * direction
    raise ExplainError(
        f"Imputed pixels must settle. Got a residual that stays large after {MAX_ITERATIONS} iterations. "
        "Look for NaN or infinity in the image."
    )


def _neighbors(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The weighted sum over neighbors, 0 outside of the image; by slices, which is faster than a convolution."""
    padded = functional.pad(values, (1, 1, 1, 1))
    along = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (along[..., :-2, :] + 2 * along[..., 1:-1, :] + along[..., 2:, :] - 4 * values) / 12


def _dot(first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
    return (first * second).sum(dim=(2, 3), keepdim=True)


def _ratio(top: Float[Tensor, "b c 1 1"], bottom: Float[Tensor, "b c 1 1"]) -> Float[Tensor, "b c 1 1"]:
    """0 where nothing is left to solve."""
    return torch.where(bottom > 0, top / bottom, 0.0)
