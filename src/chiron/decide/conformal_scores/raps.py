"""RAPS: APS with a penalty on every class from the third place on, so that no set holds a long tail.

Source: Angelopoulos et al. 2021, arXiv:2009.14193. Penalty and free places are fixed (0.1 and 2), not tuned, so that no
case is spent on them.
"""

import numpy as np
from jaxtyping import Float

from chiron.decide.conformal_scores import aps

PENALTY = 0.1
FREE_PLACES = 2


def scores(
    probs: Float[np.ndarray, "n classes"], randomizer: Float[np.ndarray, "n"] | None
) -> Float[np.ndarray, "n classes"]:
    """How badly each class fits each case: the score of APS and 0.1 for each place beyond the second."""
    place = np.argsort(np.argsort(-probs, axis=1, kind="stable"), axis=1) + 1
    return aps.scores(probs, randomizer) + PENALTY * np.maximum(0, place - FREE_PLACES)
