"""Whether a faster or smaller form of a model keeps its quality: the rule that speed-ups and exports must pass."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.comparison.models import ModelComparison, compare_models

FEWEST_CASES = 1000
LARGEST_LOSS = {"auroc": 0.005, "macro_auroc": 0.005, "accuracy": 0.01}


@dataclass(frozen=True)
class QualityKept:
    """The verdict, the paired differences (candidate - original), and how many decisions changed."""

    kept: bool
    words: str
    comparisons: list[ModelComparison]
    num_flipped: int
    num_cases: int


def keeps_quality(
    y_true: Int[np.ndarray, "n"],
    original: Float[np.ndarray, "n classes"],
    candidate: Float[np.ndarray, "n classes"],
    *,
    classes: Sequence[str],
    positive: str | None,
    groups: Sequence[Hashable] | None,
    threshold: float | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> QualityKept:
    """Whether `candidate` loses less than 0.005 of AUROC and 0.01 of accuracy, by the paired 95 % interval.

    Args:
        original, candidate: probabilities of both on the same rows, at least 1,000.
        threshold: the frozen one on the positive class's probability, of two classes; without one a decision is the
            most probable class. Decisions that flip at it are counted.
    Raises:
        MetricError: an argument is not what it must be.
    """
    ranked = "auroc" if len(classes) == 2 else "macro_auroc"
    settings: dict[str, Any] = {
        "classes": classes,
        "positive": positive,
        "groups": groups,
        "num_resamples": num_resamples,
        "seed": seed,
    }
    both = {"original": original, "candidate": candidate}
    comparisons = [compare_models(y_true, both, metrics=[name], **settings)[0] for name in (ranked, "accuracy")]
    decisions = [_decisions(y_prob, classes, positive, threshold) for y_prob in both.values()]
    flipped = int((decisions[0] != decisions[1]).sum())
    failed = [] if len(y_true) >= FEWEST_CASES else [f"{len(y_true):,} cases, of which {FEWEST_CASES:,} are needed"]
    failed += [reason for comparison in comparisons if (reason := _loss(comparison))]
    counted = f"{flipped:,} of {len(y_true):,} decisions flipped"
    words = f"quality not shown to be kept: {'; '.join(failed)}; {counted}" if failed else f"quality kept; {counted}"
    return QualityKept(not failed, words, comparisons, flipped, len(y_true))


def _loss(comparison: ModelComparison) -> str | None:
    """Why this number does not show that quality is kept; None where it does."""
    found = comparison.finding
    largest = LARGEST_LOSS[found.metric]
    if found.p_value == 1.0 and found.difference == 0.0 and found.low is None:  # the same in every case
        return None
    if found.low is None or found.note:
        return f"{found.metric} has no interval to judge by ({found.note})"
    if found.low > -largest:
        return None
    return f"{found.metric} may be {-found.low:.4f} lower, and {largest} is allowed"


def _decisions(
    y_prob: Float[np.ndarray, "n classes"], classes: Sequence[str], positive: str | None, threshold: float | None
) -> Int[np.ndarray, "n"]:
    if threshold is None or positive is None:
        return y_prob.argmax(axis=1)
    return (y_prob[:, list(classes).index(positive)] >= threshold).astype(np.int64)
