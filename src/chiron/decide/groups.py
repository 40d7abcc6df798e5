"""Cases that are not independent: numbers of groups, and how many cases a rank may leave out when they come in groups.

One rule serves thresholds and prediction sets. Let each group hold m cases, of which a limit misses some, and let the
share `miss` be allowed. With exchangeable groups and a limit chosen such that

    missed cases + (1 - miss) * (cases of the largest group) <= miss * all cases

the expected number of missed cases of a new group is at most `miss` times its expected number of cases: the promise
holds for cases, whatever ties the cases of a group together. With one case a group this is the usual conformal rank,
missed <= miss * (n + 1) - 1.

Source: conformal risk control, Angelopoulos et al. 2022, arXiv:2208.02814, theorem 1, with the loss
missed - miss * m, bounded by (1 - miss) * m.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Int

from chiron.core.errors import DecisionError

_ROUNDING = 1e-9  # 0.1 * 10 is not quite 1


def group_numbers(groups: Sequence[Hashable] | None, num_rows: int) -> Int[np.ndarray, "n"]:
    """The number of each row's group, from 0; without groups every row is its own.

    Raises:
        DecisionError: there is not one group a row.
    """
    if groups is None:
        return np.arange(num_rows)
    if len(groups) != num_rows:
        raise DecisionError(f"Groups must have one id a row, {num_rows}. Got {len(groups)}. Give one id for every row.")
    return np.unique([str(group) for group in groups], return_inverse=True)[1]


def group_sizes(group_index: Int[np.ndarray, "n"]) -> Int[np.ndarray, "_groups"]:
    """Number of rows of every group that has one."""
    sizes = np.bincount(group_index)
    return sizes[sizes > 0]


def num_missable(num_cases: int, largest_group: int, miss: float) -> int:
    """How many cases a limit may miss so that a new group's cases are missed with probability `miss` at most.

    A negative number says that there are too few cases even for a limit that misses none.

    Example:
        >>> num_missable(19, 1, 0.05), num_missable(18, 1, 0.05), num_missable(100, 1, 0.1), num_missable(100, 4, 0.1)
        (0, -1, 9, 6)
    """
    return int(np.floor(miss * num_cases - (1 - miss) * largest_group + _ROUNDING))


def fewest_groups(miss: float) -> int:
    """The least number of groups, of one case each, with which a limit can keep the promise: ceil(1 / miss) - 1.

    Example:
        >>> fewest_groups(0.1), fewest_groups(0.05)
        (9, 19)
    """
    return int(np.ceil(1 / miss - _ROUNDING)) - 1
