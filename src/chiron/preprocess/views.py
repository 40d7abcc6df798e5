"""Views: an image as it is, mirrored and turned. What test-time augmentation looks at.

The mask is a channel of the stored image, so it moves with the picture; a network that reads a left and a right lung
sees them swapped.
"""

import numpy as np
from jaxtyping import Integer

from chiron.spec.decision import Tta

Stored = Integer[np.ndarray, "_n _size _size _channels"]


def views_of(stored: Stored, tta: Tta) -> list[Stored]:
    """The images themselves first, then the other views of all of them.

    `hflip` adds the mirror image, left and right swapped; `dihedral` all eight ways to lay a square on itself.
    """
    if tta == "none":
        return [stored]
    pair = [stored, stored[:, :, ::-1]]
    if tta == "hflip":
        return pair
    return [np.rot90(view, turns, axes=(1, 2)) for turns in range(4) for view in pair]
