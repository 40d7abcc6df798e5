"""Logit adjustment: class probabilities of a population in which classes are more alike in number.

It moves the class that is named, for balanced accuracy, at the price of plain accuracy; which of the two a number is
for has to stand beside it.
"""

import numpy as np
from jaxtyping import Float, Int

STRENGTHS = tuple(k / 8 for k in range(17))  # 0 leaves the logits as they are, 1 takes the class shares out in full


def adjusted_logits(
    logits: Float[np.ndarray, "n classes"], shares: Float[np.ndarray, "classes"], strength: float
) -> Float[np.ndarray, "n classes"]:
    """Logits less `strength` times the log of the classes' shares in training.

    Args:
        shares: of every class among the training images, above 0.
    Source: Menon et al. 2021, arXiv:2007.07314, section 3.
    Example:
        >>> adjusted_logits(np.log([[0.8, 0.2]]), np.array([0.8, 0.2]), 1.0).round(12).tolist()
        [[0.0, 0.0]]
    """
    return logits - strength * np.log(shares)


def best_strength(
    logits: Float[np.ndarray, "n classes"], y_true: Int[np.ndarray, "n"], shares: Float[np.ndarray, "classes"]
) -> float:
    """The strength with the highest balanced accuracy over the classes that occur; of equal ones the weakest.

    The images must be ones that neither trained the network nor are scored afterwards.
    """
    present = np.unique(y_true)

    def balanced(strength: float) -> float:
        named = adjusted_logits(logits, shares, strength).argmax(axis=1)
        return float(np.mean([(named[y_true == k] == k).mean() for k in present]))

    return max(STRENGTHS, key=lambda strength: (balanced(strength), -strength))
