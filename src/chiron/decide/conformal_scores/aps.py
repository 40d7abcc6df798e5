"""APS: the probability of all classes down to this one, the most probable first. Sets grow where a case is hard.

Source: Romano, Sesia and Candès 2020, arXiv:2006.02544.
"""

import numpy as np
from jaxtyping import Float


def scores(
    probs: Float[np.ndarray, "n classes"], randomizer: Float[np.ndarray, "n"] | None
) -> Float[np.ndarray, "n classes"]:
    """How badly each class fits each case: what stands above it, and of its own probability the share `randomizer`.

    Without a randomizer its own probability counts in full, which makes sets larger than they need to be.
    """
    order = np.argsort(-probs, axis=1, kind="stable")
    falling = np.take_along_axis(probs, order, axis=1)
    share = np.ones(len(probs)) if randomizer is None else randomizer
    down_to = np.cumsum(falling, axis=1) - (1 - share[:, np.newaxis]) * falling
    result = np.empty_like(down_to)
    np.put_along_axis(result, order, down_to, axis=1)
    return result
