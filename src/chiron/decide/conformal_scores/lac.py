"""LAC: one minus the probability of the class. Gives the smallest sets on average; hard cases may get none.

Source: Sadinle, Lei and Wasserman 2019, arXiv:1609.00451.
"""

import numpy as np
from jaxtyping import Float


def scores(
    probs: Float[np.ndarray, "n classes"], randomizer: Float[np.ndarray, "n"] | None
) -> Float[np.ndarray, "n classes"]:
    """How badly each class fits each case; nothing is drawn."""
    return 1 - probs
