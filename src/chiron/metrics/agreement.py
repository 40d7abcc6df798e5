"""Agreement of two raters of the same images: Cohen's kappa, and McNemar's test of which is right more often."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse, special, stats

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
        return _kappa((counts @ weights).T.reshape(-1, num_categories, num_categories))

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


def _kappa(confusion: Int[np.ndarray, "*batch k k"]) -> Float[np.ndarray, "*batch"]:
    total = confusion.sum(axis=(-2, -1)).astype(np.float64)
    observed = np.trace(confusion, axis1=-2, axis2=-1) / np.maximum(total, 1)
    expected = (confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1) / np.maximum(total, 1) ** 2
    possible = (total > 0) & (expected < 1)
    return np.divide(observed - expected, 1 - expected, out=np.full(total.shape, np.nan), where=possible)


@dataclass(frozen=True)
class PairedAnswers:
    """How often one of two raters alone is right, and the p-value of no difference."""

    first_only: int
    second_only: int
    p_value: float
    method: str


def mcnemar(
    first_right: Bool[np.ndarray, "n"], second_right: Bool[np.ndarray, "n"], group_index: Int[np.ndarray, "n"]
) -> PairedAnswers:
    """Whether two raters are right equally often on the same images (at least one); mid-p, clustered where it must be.

    Where groups have several images, the sum over groups of (first only - second only) in its standard errors is
    compared with t of as many groups as disagree, less one. Identical answers: p = 1.

    Source: Fagerland, Lydersen and Laake 2013, doi:10.1186/1471-2288-13-91; clustered: Obuchowski 1998,
    doi:10.1002/(SICI)1097-0258(19980715)17:13<1495::AID-SIM863>3.0.CO;2-I.
    Example:
        >>> yes, no = np.ones(6, bool), np.zeros(6, bool)
        >>> mcnemar(yes, no, np.arange(6)).p_value
        0.015625
    """
    first_only, second_only = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    if first_only + second_only == 0:
        return PairedAnswers(0, 0, 1.0, IDENTICAL)
    if len(np.unique(group_index)) == len(group_index):
        fewer, both = min(first_only, second_only), first_only + second_only
        below = stats.binom.cdf(fewer - 1, both, 0.5) + stats.binom.pmf(fewer, both, 0.5) / 2
        return PairedAnswers(first_only, second_only, min(1.0, float(2 * below)), "McNemar, mid-p")
    by_group = np.bincount(group_index, weights=first_right.astype(float) - second_right)
    by_group = by_group[by_group != 0]
    method = "McNemar, clustered (t)"
    if len(by_group) < 2:
        return PairedAnswers(first_only, second_only, 1.0, f"{method}; fewer than two groups disagree")
    score = abs(by_group.sum()) / np.sqrt((by_group**2).sum())
    p_value = float(2 * special.stdtr(len(by_group) - 1, -score))
    return PairedAnswers(first_only, second_only, min(1.0, p_value), method)
