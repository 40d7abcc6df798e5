"""Means of scores over images, and paired differences, with intervals that account for units."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from chiron.core.errors import ExplainError
from chiron.core.suggest import did_you_mean
from chiron.explanation.scores.table import SCORES, Score
from chiron.metrics.estimate import Estimate
from chiron.metrics.means import mean_estimate, rows_of, share_estimate

__all__ = ["mean_score", "paired_difference"]

Units = Sequence[Hashable] | None


def mean_score(name: str, values: Float[Tensor, "n"], units: Units = None) -> Estimate:
    """The mean of a score over the images where it is defined; a share of hits for the pointing game.

    Args:
        name: a key of `SCORES`.
        units: the patient or other unit of each image; None says that each image is one.
    Raises:
        ExplainError: there is no such score.
        MetricError: there is not one unit an image.
    """
    score, exact = _score(name), _exact(values)
    defined = np.isfinite(exact)
    rows = rows_of(units, len(exact)).part(defined)
    if name == "pointing":
        return share_estimate(exact[defined] > 0, rows)
    return mean_estimate(exact[defined], rows, lower_bound=score.bounds[0], upper_bound=score.bounds[1])


def paired_difference(
    name: str, first: Float[Tensor, "n"], second: Float[Tensor, "n"], units: Units = None
) -> Estimate:
    """The mean of `second` - `first` over the images where both are defined: an explainer against a control.

    Where all hits differ alike, as those of a perfect explainer from a control that never hits, resampling gives no
    limits. Then the share of images that may differ in another way is at most what Wilson's interval leaves, and they
    are taken to differ as far as they can, to either side.

    Raises:
        ExplainError: there is no such score.
        MetricError: there is not one unit an image.
    """
    low, high = _score(name).bounds
    difference = _exact(second) - _exact(first)
    defined = np.isfinite(difference)
    rows = rows_of(units, len(difference)).part(defined)
    found = mean_estimate(difference[defined], rows, lower_bound=low - high, upper_bound=high - low)
    if name != "pointing" or not defined.any() or np.ptp(difference[defined]) > 0:
        return found
    alike = share_estimate(np.ones(int(defined.sum()), dtype=bool), rows)
    if alike.low is None:
        return found
    middle, other = float(difference[defined][0]) * alike.low, 1 - alike.low
    return replace(
        found,
        low=max(-1.0, middle - other),
        high=min(1.0, middle + other),
        method=f"{alike.method}, of differences that are all alike",
        note=alike.note,
    )


def _score(name: str) -> Score:
    if name not in SCORES:
        raise ExplainError(
            f"A score must be one of {', '.join(SCORES)}. Got {name!r}. "
            f"{did_you_mean(name, list(SCORES)) or 'Choose one of them.'}"
        )
    return SCORES[name]


def _exact(values: Tensor) -> Float[np.ndarray, "n"]:
    return values.detach().cpu().double().numpy()
