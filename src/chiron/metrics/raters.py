"""Two raters of the same images: Cohen's kappa with its interval, and McNemar's test of who is right more often."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from chiron.metrics.agreement import kappa_of
from chiron.metrics.comparison.mcnemar import mcnemar_p, paired_shares, share_difference_limits
from chiron.metrics.estimate import Estimate
from chiron.metrics.intervals.bootstrap import bootstrap_interval, left_out_weights, resampled_weights
from chiron.metrics.intervals.table import RULES, region_note
from chiron.metrics.metric import Family

KAPPA = "Cohen's kappa, unweighted"
IDENTICAL = "identical answers"


def kappa(
    first: Int[np.ndarray, "n"],
    second: Int[np.ndarray, "n"],
    group_index: Int[np.ndarray, "n"],
    *,
    num_categories: int,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Agreement beyond chance of two raters (1 is best, 0 is chance), unweighted, with a cluster bootstrap.

    Args:
        first, second: category of every image, from 0.
        group_index: number of each image's group.
    Source: Cohen 1960, doi:10.1177/001316446002000104.
    """
    _, groups = np.unique(group_index, return_inverse=True)
    num_groups = int(groups.max()) + 1
    cells = first * num_categories + second
    counts = sparse.csr_array((np.ones(len(cells), np.int64), (cells, groups)), shape=(num_categories**2, num_groups))

    def values(weights: Int[np.ndarray, "groups resamples"]) -> Float[np.ndarray, "resamples"]:
        return kappa_of((counts @ weights).T.reshape(-1, num_categories, num_categories), "none")

    sizes = {"num_rows": len(cells), "seed": seed}
    value = float(values(np.ones((num_groups, 1), np.int32))[0])
    parts = {"num_images": len(cells), "num_groups": num_groups}
    if np.isnan(value):
        return Estimate(None, None, None, KAPPA, **parts, note="both give one and the same answer to every image")
    interval = bootstrap_interval(
        value,
        np.concatenate([values(block) for block in resampled_weights(num_groups, num_resamples, **sizes)]),
        np.concatenate([values(block) for block in left_out_weights(num_groups, **sizes)]),
        degrees_of_freedom=num_groups - 1,
        lower_bound=-1.0,
        confidence=confidence,
        method="bootstrap" if num_groups == len(cells) else "cluster bootstrap",
    )
    notes = [region_note(RULES[Family.RESAMPLED], num_groups, "groups"), interval.note]
    return Estimate(
        value,
        interval.low,
        interval.high,
        f"{KAPPA}; {interval.method}",
        **parts,
        note="; ".join(note for note in notes if note) or None,
    )


@dataclass(frozen=True)
class PairedAnswers:
    """How often one of two raters alone is right, and the p-value of no difference.

    `limits` are of the first's share of right answers less the second's; None where all images are of one group.
    """

    first_only: int
    second_only: int
    p_value: float
    method: str
    limits: tuple[float, float] | None


def mcnemar(
    first_right: Bool[np.ndarray, "n"],
    second_right: Bool[np.ndarray, "n"],
    group_index: Int[np.ndarray, "n"],
    *,
    confidence: float = 0.95,
) -> PairedAnswers:
    """Whether two raters are right equally often on the same images (at least one): mid-p over the signs of groups.

    Identical answers: p = 1.

    Example:
        >>> yes, no = np.ones(6, bool), np.zeros(6, bool)
        >>> mcnemar(yes, no, np.arange(6)).p_value
        0.015625
    """
    shares = paired_shares(first_right.astype(np.float64), second_right.astype(np.float64), group_index)
    alike = not (shares.only_first or shares.only_second)
    clustered = "" if len(shares.sizes) == shares.num_rows else ", clustered"
    method = IDENTICAL if alike else f"McNemar{clustered}, mid-p"
    limits = share_difference_limits(shares, confidence=confidence)
    turned = None if limits is None else (-limits[1], -limits[0])
    return PairedAnswers(shares.only_first, shares.only_second, mcnemar_p(shares), method, turned)
