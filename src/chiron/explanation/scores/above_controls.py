"""Whether maps point at findings more often than maps that know nothing of the network."""

from collections.abc import Mapping
from typing import TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor

from chiron.explanation.scores.controls import CONTROLS
from chiron.explanation.scores.evidence import Units, paired_difference
from chiron.explanation.scores.localization import LOCALIZATION
from chiron.explanation.subject import Subject
from chiron.metrics.estimate import Estimate

__all__ = ["AboveControls", "above_controls", "control_scores", "not_above"]

AboveControls: TypeAlias = dict[str, dict[str, Estimate]]  # control -> key of LOCALIZATION -> explainer minus control


def control_scores(
    subject: Subject, masks: Bool[Tensor, "b h w"], *, seed: int = 0
) -> dict[str, dict[str, Float[Tensor, "b"]]]:
    """Where the maps of each control point: control -> key of `LOCALIZATION` -> a value an image, on the CPU."""
    made = {control: make(subject, seed=seed) for control, make in CONTROLS.items()}
    return {
        control: {name: score(maps, masks).cpu() for name, score in LOCALIZATION.items()}
        for control, maps in made.items()
    }


def above_controls(
    scores: Mapping[str, Float[Tensor, "n"]],
    of_controls: Mapping[str, Mapping[str, Float[Tensor, "n"]]],
    units: Units = None,
) -> AboveControls:
    """By how much an explainer's localization is above that of each control, on the same images.

    Raises:
        MetricError: there is not one unit an image.
    """
    return {
        control: {name: paired_difference(name, values, scores[name], units) for name, values in own.items()}
        for control, own in of_controls.items()
    }


def not_above(differences: AboveControls) -> tuple[str, ...]:
    """Why the hits of the pointing game are not shown to be above those of controls: a sentence a control."""
    return tuple(reason for control in differences if (reason := _reason(control, differences[control]["pointing"])))


def _reason(control: str, found: Estimate) -> str | None:
    if found.low is not None and found.low > 0:
        return None
    told = f"undefined ({found.note})" if found.value is None else f"{found.value:+.3f}"
    limits = f" ({found.low:+.3f} to {found.high:+.3f})" if found.low is not None and found.high is not None else ""
    return (
        f"not shown to find findings better than the control {control!r}: the difference of hit rates is "
        f"{told}{limits}, and its interval must lie above 0"
    )
