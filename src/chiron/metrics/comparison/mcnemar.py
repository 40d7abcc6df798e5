"""Two shares of the same rows: McNemar's test, also for rows in groups, and the interval of their difference.

Under no difference the sign of each group's net count (rows that only one model gets right, less those that only the
other does) is a coin's. The exact distribution over all signs is a small convolution; with every row its own group it
is the binomial one of McNemar's test, so that both cases are one computation.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

from chiron.core.errors import MetricError


@dataclass(frozen=True)
class PairedShares:
    """Rows on which two models disagree, and each group's net count for the second."""

    only_first: int
    only_second: int
    net: Int[np.ndarray, "groups"]
    sizes: Int[np.ndarray, "groups"]  # rows that count, above 0

    @property
    def num_rows(self) -> int:
        """Rows that count."""
        return int(self.sizes.sum())

    @property
    def difference(self) -> float:
        """The share of the second less that of the first."""
        return (self.only_second - self.only_first) / self.num_rows


def paired_shares(
    first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"], group_index: Int[np.ndarray, "n"]
) -> PairedShares:
    """Counts of two models' successes (1 or 0) on the rows that count.

    Raises:
        MetricError: there is no row.
    """
    if not len(first):
        raise MetricError("A difference of shares needs rows that count. Got none. Choose another metric or class.")
    _, index = np.unique(group_index, return_inverse=True)
    change = second - first
    return PairedShares(
        only_first=int((change < 0).sum()),
        only_second=int((change > 0).sum()),
        net=np.rint(np.bincount(index, weights=change)).astype(np.int64),
        sizes=np.bincount(index),
    )


def mcnemar_p(shares: PairedShares, *, exact: bool = False) -> float:
    """Two-sided p-value of no difference over all signs of the groups' net counts: mid-p, or exact.

    The exact test never rejects too often and often far too seldom; mid-p counts half of what is just as extreme.

    Source: McNemar 1947, doi:10.1007/BF02295996; mid-p: Fagerland, Lydersen and Laake 2013,
    doi:10.1186/1471-2288-13-91; net counts of clusters: Obuchowski 1998, doi:10.1002/(SICI)1097-0258(19980715)17:13.
    Example:
        >>> shares = paired_shares(np.repeat([1.0, 0.0], [1, 7]), np.repeat([0.0, 1.0], [1, 7]), np.arange(8))
        >>> round(mcnemar_p(shares), 6), round(mcnemar_p(shares, exact=True), 6)
        (0.039062, 0.070312)
    """
    probabilities = _over_all_signs(np.abs(shares.net))
    reach = (len(probabilities) - 1) // 2  # the sum lies in -reach..reach
    observed = abs(int(shares.net.sum()))
    if observed == 0:
        return 1.0
    at_least = probabilities[reach + observed :].sum()
    tail = at_least if exact else at_least - probabilities[reach + observed] / 2
    return float(min(1.0, 2 * tail))


def mcnemar_statistic(shares: PairedShares) -> float:
    """The chi-squared statistic with one degree of freedom; NaN where no group's net count differs from 0.

    (b - c)^2 / (b + c) with single rows; with groups the squared sum of net counts over the sum of their squares.

    Source: Obuchowski 1998 in the form of Yang, Sun and Hardin 2010, doi:10.1002/sim.3818.
    """
    scale = float((shares.net.astype(np.float64) ** 2).sum())
    return float(shares.net.sum()) ** 2 / scale if scale else float("nan")


def share_difference_limits(shares: PairedShares, *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Limits of the difference of two shares of the same rows; never of width zero, None for rows of one group.

    Wald's limits with half a row added to each of the four cells. For groups on an effective number of rows, with t.

    Source: Bonett and Price 2012, doi:10.3102/1076998611411915.
    """
    num_groups, rows = len(shares.sizes), float(shares.num_rows)
    quantile = special.ndtri((1 + confidence) / 2)
    if num_groups < shares.num_rows:
        if num_groups < 2:
            return None
        rows /= _design_effect(shares)
        quantile = special.stdtrit(num_groups - 1, (1 + confidence) / 2)
    shrink = rows / shares.num_rows
    first, second = ((count * shrink + 1) / (rows + 2) for count in (shares.only_first, shares.only_second))
    center = second - first
    half = quantile * np.sqrt((first + second - center**2) / (rows + 2))
    low, high = max(-1.0, float(center - half)), min(1.0, float(center + half))
    return min(low, shares.difference), max(high, shares.difference)


def share_variance(change: Float[np.ndarray, "n"], group_index: Int[np.ndarray, "n"]) -> float:
    """Variance of the mean of `change`, whose rows come in groups; NaN for rows of one group."""
    _, index = np.unique(group_index, return_inverse=True)
    sums = np.bincount(index, weights=change - change.mean())
    num_groups = len(sums)
    if num_groups < 2:
        return float("nan")
    return float(num_groups / (num_groups - 1) * (sums**2).sum() / len(change) ** 2)


def _design_effect(shares: PairedShares) -> float:
    """How many times more variable the difference is than with independent rows, at least 1.

    Where the models never disagree, rows of a group are taken as fully alike.
    """
    num_groups, rows = len(shares.sizes), shares.num_rows
    plain = (shares.only_first + shares.only_second) / rows - shares.difference**2
    if plain <= 0:
        return float((shares.sizes.astype(np.float64) ** 2).sum() / rows)
    residuals = shares.net - shares.difference * shares.sizes
    clustered = num_groups / (num_groups - 1) * (residuals**2).sum() / rows**2
    return max(1.0, float(clustered / (plain / rows)))


def _over_all_signs(sizes: Int[np.ndarray, "groups"]) -> Float[np.ndarray, "sums"]:
    """Probability of each sum of `sizes` under random signs, from the lowest sum to the highest."""
    distribution = np.ones(1)
    for size, count in zip(*np.unique(sizes[sizes > 0], return_counts=True), strict=True):
        of_size = np.zeros(2 * int(size) * int(count) + 1)
        of_size[:: 2 * int(size)] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, of_size)
    return distribution
