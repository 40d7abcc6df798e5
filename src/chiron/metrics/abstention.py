"""What is gained when the cases a model is least sure of go to a person: risk-coverage curve and referral table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from chiron.core.errors import MetricError
from chiron.metrics.estimate import Estimate
from chiron.metrics.means import Rows, resampled_estimate, share_estimate

REFERRED_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True)
class RiskCoverage:
    """Share of cases that are answered, from the surest on, and the share of errors among them.

    Cases of equal confidence are answered together. `area` is the mean risk over all coverages (AURC; 0 is best).
    """

    coverage: Float[np.ndarray, "points"]
    risk: Float[np.ndarray, "points"]
    area: Estimate


@dataclass(frozen=True)
class ReferralRow:
    """What remains when the least sure cases are referred: at most `share` of them, equal confidences together.

    `least_confidence` is that of the remaining cases. Sensitivity and specificity are null without a question.
    """

    share: float
    num_referred: int
    least_confidence: float
    error: Estimate
    sensitivity: Estimate | None
    specificity: Estimate | None


def risk_coverage(confidence: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"], rows: Rows) -> RiskCoverage:
    """The curve, and the area under it with a cluster bootstrap interval.

    Args:
        confidence: how sure the model is, of each case; of several classes the largest probability.
        wrong: whether the answer differs from the reference standard.
    Raises:
        MetricError: there is no case, or a confidence is not finite.
    Source: Geifman and El-Yaniv 2017, arXiv:1705.08500; area: Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206.
    """
    _check(confidence)
    order = np.argsort(-confidence, kind="stable")
    falling = -confidence[order]
    last = np.searchsorted(falling, falling, side="right") - 1
    ends = np.unique(last)
    wrong, group = wrong[order].astype(np.int64), rows.group_index[order]
    return RiskCoverage(
        coverage=(ends + 1) / len(order),
        risk=np.cumsum(wrong)[ends] / (ends + 1),
        area=resampled_estimate(lambda weights: _area(weights[group], wrong, last), rows),
    )


def referral_table(
    confidence: Float[np.ndarray, "n"],
    wrong: Bool[np.ndarray, "n"],
    rows: Rows,
    *,
    positive: Bool[np.ndarray, "n"] | None = None,
    shares: Sequence[float] = REFERRED_SHARES,
) -> list[ReferralRow]:
    """Error, and of a question sensitivity and specificity, among the cases that are not referred.

    Intervals are those of proportions and take the limit of referral as given.

    Args:
        positive: of a clinical question, which cases are positive by the reference standard.
        shares: of cases that are referred at most.
    Raises:
        MetricError: there is no case, or a confidence is not finite.
    """
    _check(confidence)
    rising = np.sort(confidence)
    table = []
    for share in shares:
        limit = rising[min(int(np.floor(share * len(rising) + 1e-9)), len(rising) - 1)]
        kept = confidence >= limit
        table.append(
            ReferralRow(
                share=share,
                num_referred=int((~kept).sum()),
                least_confidence=float(limit),
                error=share_estimate(wrong[kept], rows.part(kept)),
                sensitivity=None if positive is None else _right(wrong, kept & positive, rows),
                specificity=None if positive is None else _right(wrong, kept & ~positive, rows),
            )
        )
    return table


def distance_from_threshold(score: Float[np.ndarray, "n"], threshold: float) -> Float[np.ndarray, "n"]:
    """How sure the answer to a question is: the distance between score and threshold, in log-odds.

    In log-odds a threshold of 0.05 has room on both sides; as probabilities all that lies below it would be near.
    """
    tiny = np.finfo(np.float64).eps
    odds = special.logit(np.clip(np.append(score, threshold), tiny, 1 - tiny))
    return np.abs(odds[:-1] - odds[-1])


def _right(wrong: np.ndarray, counted: Bool[np.ndarray, "n"], rows: Rows) -> Estimate:
    return share_estimate(~wrong[counted], rows.part(counted))


def _area(
    weights: Int[np.ndarray, "n resamples"], wrong: Int[np.ndarray, "n"], last: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "resamples"]:
    """Weighted mean over cases of the risk among all that are as sure or surer; rows by falling confidence."""
    answered = np.cumsum(weights, axis=0, dtype=np.int64)[last]
    errors = np.cumsum(weights * wrong[:, np.newaxis], axis=0, dtype=np.int64)[last]
    risk = np.divide(errors, answered, out=np.zeros(errors.shape), where=answered > 0)
    total = weights.sum(axis=0)
    return np.divide((weights * risk).sum(axis=0), total, out=np.full(total.shape, np.nan), where=total > 0)


def _check(confidence: np.ndarray) -> None:
    if not len(confidence) or not np.isfinite(confidence).all():
        raise MetricError(
            f"Referral needs a finite confidence of every case, and a case. Got {len(confidence)} values. "
            "Leave out failed rows."
        )
