"""The scores that there are, by key, and all of them that a map alone can be given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from chiron.explanation.scores.deletion_insertion import deletion, insertion
from chiron.explanation.scores.localization import LOCALIZATION
from chiron.explanation.scores.road import road
from chiron.explanation.scores.stability import stability
from chiron.explanation.subject import Subject

__all__ = ["SCORES", "Score", "score_maps"]


@dataclass(frozen=True)
class Score:
    """What a score is called, its better direction, what it means, and the values that it can have."""

    title: str
    better: Literal["higher", "lower"]
    meaning: str
    bounds: tuple[float, float] = (0.0, 1.0)


SCORES: dict[str, Score] = {
    "deletion": Score(
        "Deletion",
        "lower",
        "Area under the probability as the map's places take the image's mean color, most important first.",
    ),
    "deletion_gain": Score(
        "Deletion, gain",
        "higher",
        "By how much that area is smaller than with random maps of the same values and smoothness; 0 is chance.",
        (-1.0, 1.0),
    ),
    "insertion": Score(
        "Insertion",
        "higher",
        "Area under the probability as the map's places come into a blurred image, most important first.",
    ),
    "insertion_gain": Score(
        "Insertion, gain",
        "higher",
        "By how much that area is larger than with random maps of the same values and smoothness; 0 is chance.",
        (-1.0, 1.0),
    ),
    "road": Score(
        "ROAD",
        "higher",
        "Half of what the probability loses more without the most important places, filled from those around them, "
        "than without the least important ones; 0 is chance.",
        (-0.5, 0.5),
    ),
    "stability": Score(
        "Stability",
        "higher",
        "Rank correlation with the maps of the same image under noise of 2 % of its range; 1 is the same map.",
        (-1.0, 1.0),
    ),
    "randomization": Score(
        "Randomization",
        "lower",
        "Rank correlation, without its sign, with the maps of networks whose weights are dealt anew; near 1 the map "
        "shows the image and not the network.",
    ),
    "pointing": Score(
        "Pointing game",
        "higher",
        "Whether the largest place lies in a finding or within 15 of 224 parts of the shorter side of one.",
    ),
    "iou": Score(
        "IoU at equal area",
        "higher",
        "Overlap of the findings and of as many pixels, those where the map is largest.",
    ),
    "energy": Score("Energy inside", "higher", "Share of the map's sum that lies in the findings."),
}


def score_maps(
    subject: Subject,
    maps: Float[Tensor, "b _gh _gw"],
    explain: Callable[[Subject], Tensor],
    *,
    masks: Bool[Tensor, "b h w"] | None = None,
    seed: int = 0,
) -> dict[str, Float[Tensor, "b"]]:
    """The scores of each image's map, by the keys of `SCORES`, on the CPU; without `randomization`, which is costly.

    Args:
        maps: what `explain` gives for `subject`.
        explain: an explainer bound to its seed; a blank map is given back and not refused.
        masks: where the findings are, at the size of the network's input; NaN stands where an image has none.
    """
    deleted, inserted = deletion(subject, maps, seed=seed), insertion(subject, maps, seed=seed)
    scores = {
        "deletion": deleted.area,
        "deletion_gain": deleted.gain,
        "insertion": inserted.area,
        "insertion_gain": inserted.gain,
        "road": road(subject, maps, seed=seed),
        "stability": stability(subject, maps, explain, seed=seed),
    }
    if masks is not None:
        scores |= {name: score(maps, masks) for name, score in LOCALIZATION.items()}
    return {name: values.cpu() for name, values in scores.items()}
