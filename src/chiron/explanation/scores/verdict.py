"""Which explainer is `recommended` for a network and its images, and why another one is `experimental`.

Three things are asked, and a fourth where findings are known: that maps point at them more often than maps that know
nothing of the network. Each is asked of the limit of an interval and not of the mean: what one has not shown, one
cannot recommend. Many explainers judged on the same images are not corrected for their number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from chiron.core.errors import ExplainError
from chiron.explanation.scores.above_controls import AboveControls, above_controls, not_above
from chiron.explanation.scores.evidence import Units, mean_score
from chiron.explanation.scores.stability import NOISE_SHARE
from chiron.metrics.estimate import Estimate
from chiron.metrics.intervals.table import RULES
from chiron.metrics.metric import Family

__all__ = ["GAIN_BOUND", "MIN_UNITS", "NEEDED", "RANDOMIZATION_BOUND", "STABILITY_BOUND", "Verdict", "verdict"]

# One point of probability on average over the curve. A network that hardly answers to its image moves by thousandths,
# and many images would show even those to differ from 0.
GAIN_BOUND = 0.01
# At a rank correlation of 0.7 two maps share half of the variance of their ranks (0.7 squared). Below it, small noise
# changes more of a map than it leaves.
STABILITY_BOUND = 0.7
# At 0.5 a quarter is shared. Smooth maps on a coarse grid reach about 0.3 by chance, as no sign is counted here.
RANDOMIZATION_BOUND = 0.5
MIN_UNITS = RULES[Family.RESAMPLED].min_groups
NEEDED = ("deletion_gain", "insertion_gain", "stability", "randomization")


@dataclass(frozen=True)
class Verdict:
    """Whether an explainer is recommended, the reasons why not, and the mean of every score with its interval."""

    recommended: bool
    reasons: tuple[str, ...]
    estimates: dict[str, Estimate]
    above_controls: AboveControls = field(default_factory=dict)  # empty where too few units have known findings

    @property
    def num_units(self) -> int:
        """Units that every score counts which is asked for."""
        return _num_units(self.estimates)

    @property
    def has_enough(self) -> bool:
        """Whether the units are enough to tell: with fewer, an explainer is experimental whatever its scores."""
        return self.num_units >= MIN_UNITS

    @property
    def label(self) -> Literal["recommended", "experimental"]:
        """The word that stands beside the explainer."""
        return "recommended" if self.recommended else "experimental"


def verdict(
    scores: Mapping[str, Float[Tensor, "n"]],
    units: Units = None,
    *,
    of_controls: Mapping[str, Mapping[str, Float[Tensor, "n"]]] | None = None,
) -> Verdict:
    """The verdict on one explainer.

    Args:
        scores: of every image, by the keys of `SCORES`; at least those of `NEEDED`.
        units: the patient or other unit of each image; None says that each image is one.
        of_controls: what `control_scores` gives, where findings are known. Under `MIN_UNITS` units with a finding, hits
            are told and weigh nothing.
    Raises:
        ExplainError: a score is missing, or there is none of such a name.
        MetricError: there is not one unit an image.
    """
    missing = [name for name in NEEDED if name not in scores]
    if missing:
        raise ExplainError(
            f"A verdict needs {', '.join(NEEDED)}. Got none of {', '.join(missing)}. "
            "Add `randomization_correlation` under `randomization` to what `score_maps` gives."
        )
    estimates = {name: mean_score(name, values, units) for name, values in scores.items()}
    reasons = tuple(
        reason for reason in (_size(estimates), _gain(estimates), _stability(estimates), _weights(estimates)) if reason
    )
    above: AboveControls = {}
    if of_controls and estimates["pointing"].num_groups >= MIN_UNITS:
        above = above_controls(scores, of_controls, units)
    reasons += not_above(above)
    return Verdict(not reasons, reasons, estimates, above)


def _num_units(estimates: Mapping[str, Estimate]) -> int:
    return min(estimates[name].num_groups for name in NEEDED)


def _size(estimates: Mapping[str, Estimate]) -> str | None:
    fewest = _num_units(estimates)
    return None if fewest >= MIN_UNITS else f"too few units to tell: {fewest}, where intervals need {MIN_UNITS}"


def _gain(estimates: Mapping[str, Estimate]) -> str | None:
    """Either of two gains will do: each has a chance of 2.5 % where there is none, both together at most 5 %."""
    gains = [estimates[name] for name in ("deletion_gain", "insertion_gain")]
    if any(it.low is not None and it.low > GAIN_BOUND for it in gains):
        return None
    return (
        "not shown to find what the probability depends on: against random maps of the same smoothness, deletion gains "
        f"{_words(gains[0])} and insertion {_words(gains[1])}, and one interval must lie above {GAIN_BOUND}"
    )


def _stability(estimates: Mapping[str, Estimate]) -> str | None:
    found = estimates["stability"]
    if found.low is not None and found.low > STABILITY_BOUND:
        return None
    return (
        f"not shown to be stable: under noise of {NOISE_SHARE:.0%} of the image's range, the rank correlation is "
        f"{_words(found)}, and its interval must lie above {STABILITY_BOUND}"
    )


def _weights(estimates: Mapping[str, Estimate]) -> str | None:
    found = estimates["randomization"]
    if found.high is not None and found.high < RANDOMIZATION_BOUND:
        return None
    return (
        "not shown to depend on what was learned: with networks that have learned nothing, the rank correlation is "
        f"{_words(found)}, and its interval must lie below {RANDOMIZATION_BOUND}"
    )


def _words(found: Estimate) -> str:
    if found.value is None:
        return f"undefined ({found.note})"
    if found.low is None or found.high is None:
        return f"{found.value:.3f} (no interval: {found.note})"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
