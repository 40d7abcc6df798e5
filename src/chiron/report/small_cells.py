"""Which numbers of a confusion matrix may be told beside its coarse cells, so that no cell below five comes out.

A number is told exactly or not at all; here is decided which. Of more than two classes each sum that is told is looked
at alone: what several of them together say of a single pair of classes is not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

FEWEST = 5

Matrix = Int[np.ndarray, "k k"]


def withheld_classes(matrix: Matrix) -> set[int]:
    """The places of the classes whose rates are withheld: any of their four cells against the rest is below five.

    A single one would follow from the others and the accuracy, so that the class with the next smallest cell joins it.
    """
    smallest = []
    for place in range(len(matrix)):
        missed, alarmed = np.delete(matrix[place], place), np.delete(matrix[:, place], place)
        rejected = np.delete(np.delete(matrix, place, 0), place, 1)
        parts = (matrix[place, place], missed, alarmed, rejected)
        smallest.append(0 if any(map(_fixed_by_sum, parts)) else min(int(np.sum(part)) for part in parts))
    return too_small(smallest)


def too_small(smallest: Sequence[int]) -> set[int]:
    """Places of counts below five; never a single one where there are others: it would be what is missing."""
    found = {place for place, value in enumerate(smallest) if value < FEWEST}
    rest = [place for place in range(len(smallest)) if place not in found]
    return found | {min(rest, key=lambda place: smallest[place])} if len(found) == 1 and rest else found


def _fixed_by_sum(cells: Any) -> bool:
    """Whether their exact sum tells a cell below five: all coarse cells are at their lowest or all at their top."""
    above = np.ravel(cells) % FEWEST
    return bool(np.min(cells, initial=FEWEST) < FEWEST and above.sum() in (0, (FEWEST - 1) * above.size))


def sums_told(matrix: Matrix) -> set[str]:
    """Which of "accuracy" and "majority", the share of the commonest class, may be told beside the coarse matrix.

    Of two classes with a small cell neither: with the coarse cells they often leave one value for it, and if they were
    withheld only then, that would tell it too.
    """
    if len(matrix) == 2 and matrix.min() < FEWEST:
        return set()
    majority, diagonal = matrix.sum(axis=1).argmax(), np.eye(len(matrix), dtype=bool)
    parts = {
        "accuracy": (matrix[diagonal], matrix[~diagonal]),
        "majority": (matrix[majority], np.delete(matrix, majority, 0)),
    }
    return {
        name
        for name, sides in parts.items()
        if min(side.sum() for side in sides) >= FEWEST and not any(map(_fixed_by_sum, sides))
    }
