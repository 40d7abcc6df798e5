"""Maps with their evidence: every image's map, its scores, and beside it what the same explainer says of a wrong class
and of a network that has learned nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from chiron.classifier import Classifier
from chiron.core.hashing import seed_of
from chiron.core.registry import load_leaf
from chiron.explanation.choose import choose
from chiron.explanation.ensemble import bound, joined, members_of
from chiron.explanation.explain import (
    EXPLAINERS,
    blank_reasons,
    class_index,
    heat_of,
    mean_map,
    member_maps,
    shown_of,
    subjects_of,
)
from chiron.explanation.scores.above_controls import control_scores
from chiron.explanation.scores.randomization import randomization_correlation, with_redrawn
from chiron.explanation.scores.table import score_maps
from chiron.explanation.subject import Subject, probs_of

__all__ = ["Beside", "ScoredExplainer", "ScoredMap"]

Heat = Float[np.ndarray, "_h _w"]


@dataclass(frozen=True)
class Beside:
    """What to compare a map with; None where the explainer's map is blank."""

    wrong_class: str
    wrong: Heat | None  # the map of the most probable other class
    untrained: Heat | None  # the map of a network whose weights were dealt anew


@dataclass(frozen=True)
class ScoredMap:
    """One image's map and its scores, by the keys of `SCORES`; the fields are those of `Explanation`."""

    map: Float[np.ndarray, "_gh _gw"]
    heat: Heat
    shown: UInt8[np.ndarray, "_h _w _c"]
    class_name: str
    probability: float
    scores: dict[str, float]
    of_controls: dict[str, dict[str, float]] = field(default_factory=dict)  # with masks: where controls point
    blank: str = ""  # why the map says nothing; it has no scores then
    beside: Beside | None = None  # only where it was asked for


class ScoredExplainer:
    """One explainer over batches of stored images.

    Args:
        method: an explainer's name, or `auto`, which is settled with the first image.
        class_name: the class that is explained; None for each image's most probable one.
    Raises:
        ExplainError: there is no such class.
        ChironError: there is no such explainer.
    """

    def __init__(
        self, classifier: Classifier, *, method: str = "auto", class_name: str | None = None, seed: int = 0
    ) -> None:
        self.classifier, self.method, self.class_name, self.seed = classifier, method, class_name, seed
        self._asked = class_index(classifier, class_name)
        if method != "auto":
            load_leaf(EXPLAINERS, method, kind="explainer")

    @property
    def title(self) -> str:
        """What the explainer is called in tables."""
        return load_leaf(EXPLAINERS, self.method, kind="explainer").TITLE

    @property
    def is_class_specific(self) -> bool:
        """Whether its map depends on the class that is asked for."""
        return load_leaf(EXPLAINERS, self.method, kind="explainer").CLASS_SPECIFIC

    def batch(
        self,
        stored: Tensor,
        *,
        masks: Bool[Tensor, "b h w"] | None = None,
        beside: Sequence[int] = (),
    ) -> list[ScoredMap]:
        """One map an image, in order.

        Args:
            stored: images as `Classifier.store` makes them, stacked.
            masks: where the findings are, at the size of the network's input.
            beside: places in the batch of the images that are given `ScoredMap.beside`.
        Raises:
            ExplainError: the explainer cannot explain the network, or gives a map that is not finite.
        """
        labels = self.classifier.labels
        probs = probs_of(self.classifier, stored)
        classes = probs.argmax(dim=1) if self._asked is None else torch.full((len(stored),), self._asked)
        subjects = subjects_of(self.classifier, stored, classes)
        if self.method == "auto":
            self.method = choose(subjects[0], self.classifier.explainers, class_name=self.class_name)
        made = member_maps(subjects, self.method, seed=self.seed)
        subject, maps, blank = joined(subjects), mean_map(made), blank_reasons(made)
        heat, shown = heat_of(maps, subject.image.shape[-2:]), shown_of(self.classifier, subject)
        told = [place for place, reason in enumerate(blank) if not reason]
        scores = self._scores(subject, maps, told, masks)
        of_controls = _of_controls(subject, told, masks, self.seed)
        others = self._beside(subject, probs, [place for place in beside if not blank[place]])
        return [
            ScoredMap(
                maps[place].cpu().numpy(),
                heat[place].cpu().numpy(),
                shown[place],
                labels.names[int(classes[place])],
                float(probs[place, int(classes[place])]),
                scores.get(place, {}),
                of_controls.get(place, {}),
                reason,
                others.get(place),
            )
            for place, reason in enumerate(blank)
        ]

    def _scores(
        self,
        subject: Subject,
        maps: Float[Tensor, "b _gh _gw"],
        places: list[int],
        masks: Bool[Tensor, "b h w"] | None,
    ) -> dict[int, dict[str, float]]:
        """The scores of the images at `places`, which have a map."""
        if not places:
            return {}
        kept = torch.tensor(places)
        there = kept.to(subject.image.device)
        own, explain = subject.rows(there), bound(self.method, seed=self.seed)
        own_masks = None if masks is None else masks[kept].to(subject.image.device)
        scores = score_maps(own, maps[there], explain, masks=own_masks, seed=self.seed)
        scores["randomization"] = randomization_correlation(own, explain, seed=self.seed).cpu()
        return {place: {name: float(it[row]) for name, it in scores.items()} for row, place in enumerate(places)}

    def _beside(self, subject: Subject, probs: Float[Tensor, "b _classes"], places: list[int]) -> dict[int, Beside]:
        """The maps of a wrong class and of a network without learning, of the images at `places`."""
        if not places:
            return {}
        there = torch.tensor(places, device=subject.image.device)
        own = subject.rows(there)
        wrong = _most_probable_other(probs[torch.tensor(places)], own.classes.cpu())
        of_wrong = self._heats(own.asking(wrong.to(subject.image.device)))
        untrained = self._heats(with_redrawn(own, seed=seed_of("network", 0, self.seed)))
        names = self.classifier.labels.names
        return {
            place: Beside(names[int(wrong[row])], of_wrong[row], untrained[row]) for row, place in enumerate(places)
        }

    def _heats(self, subject: Subject) -> list[Heat | None]:
        """Each map at the size of the input, None where it is blank."""
        made = member_maps(members_of(subject), self.method, seed=self.seed)
        heat = heat_of(mean_map(made), subject.image.shape[-2:]).cpu().numpy()
        return [None if reason else heat[row] for row, reason in enumerate(blank_reasons(made))]


def _of_controls(
    subject: Subject, places: list[int], masks: Bool[Tensor, "b h w"] | None, seed: int
) -> dict[int, dict[str, dict[str, float]]]:
    """Where controls point in the images at `places`, for those that have a map; empty without masks."""
    if masks is None or not places:
        return {}
    kept = torch.tensor(places)
    there = kept.to(subject.image.device)
    made = control_scores(subject.rows(there), masks[kept].to(subject.image.device), seed=seed)
    return {
        place: {control: {name: float(it[row]) for name, it in own.items()} for control, own in made.items()}
        for row, place in enumerate(places)
    }


def _most_probable_other(probs: Float[Tensor, "b classes"], classes: Int[Tensor, "b"]) -> Int[Tensor, "b"]:
    """The most probable class that is not the one explained."""
    return probs.scatter(1, classes[:, None], -1).argmax(dim=1)
