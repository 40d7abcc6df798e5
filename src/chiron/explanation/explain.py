"""`chiron.explain`: where a classifier reacted in an image, for a class.

"Where the model reacted, not where disease is": a map says nothing by itself; see `chiron.explanation.scores`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from chiron.classifier import Classifier
from chiron.core.errors import ExplainError
from chiron.core.registry import leaf_names, load_leaf
from chiron.core.suggest import did_you_mean
from chiron.data.dataset import to_tensor
from chiron.explanation.choose import choose
from chiron.explanation.subject import Subject, probs_of
from chiron.scorer import ImageLike

__all__ = [
    "EXPLAINERS",
    "NOTICE",
    "Explanation",
    "blank_reasons",
    "class_index",
    "explain",
    "heat_of",
    "maps_of",
    "mean_map",
    "member_maps",
    "shown_of",
    "subjects_of",
]

EXPLAINERS = "chiron.explanation.explainers"
NOTICE = "Where the model reacted, not where disease is."
SAME = 1e-6  # a map whose values differ by less than this share of the largest is rounding alone
ZEROS = "zeros everywhere: no place speaks for the class, by this explainer"
SAME_EVERYWHERE = "the same value everywhere: no place stands out"


@dataclass(frozen=True)
class Explanation:
    """A map of one image for one class.

    `map` is as the explainer gave it, on a grid of its own; `heat` is the same at the size of the network's input, 0 to
    1; `shown` is the picture that the network saw, after the canonical resize and `finish`.
    """

    map: Float[np.ndarray, "_gh _gw"]
    heat: Float[np.ndarray, "h w"]
    shown: UInt8[np.ndarray, "h w _c"]
    method: str
    class_name: str
    probability: float  # the bundle's, of this class
    notice: str = NOTICE


def explain(
    classifier: Classifier,
    images: ImageLike | Sequence[ImageLike],
    *,
    method: str = "auto",
    class_name: str | None = None,
    batch_size: int = 16,
    seed: int = 0,
) -> list[Explanation]:
    """One map an image.

    Args:
        method: an explainer's name, or `auto`: one that passed its checks on this bundle, else the one that found
            planted findings best in networks of this kind.
        class_name: the class that is explained; None for each image's most probable one.
        seed: of explainers that draw noise.
    Raises:
        ExplainError: unknown method or class, a network that the method cannot explain, or a blank map.
        DataError, PreprocessError: an image cannot be read.
    """
    several = images if isinstance(images, Sequence) and not isinstance(images, str | bytes) else [images]
    names, asked = classifier.labels.names, class_index(classifier, class_name)
    made: list[Explanation] = []
    for first in range(0, len(several), batch_size):
        stored = torch.stack([to_tensor(classifier.store(it)) for it in several[first : first + batch_size]])
        probs = probs_of(classifier, stored)
        classes = probs.argmax(dim=1) if asked is None else torch.full((len(stored),), asked)
        subjects = subjects_of(classifier, stored, classes)
        chosen = method if method != "auto" else choose(subjects[0], classifier.explainers, class_name=class_name)
        maps = maps_of(subjects, chosen, seed=seed)
        heat = heat_of(maps, subjects[0].image.shape[-2:])
        shown = shown_of(classifier, subjects[0])
        made += [
            Explanation(
                maps[i].cpu().numpy(),
                heat[i].cpu().numpy(),
                shown[i],
                chosen,
                names[int(classes[i])],
                float(probs[i, int(classes[i])]),
            )
            for i in range(len(stored))
        ]
    return made


def class_index(classifier: Classifier, class_name: str | None) -> int | None:
    """The place of a class among the classifier's; None stays None.

    Raises:
        ExplainError: there is no such class.
    """
    names = classifier.labels.names
    if class_name is None:
        return None
    if class_name not in names:
        hint = did_you_mean(class_name, list(names)) or "Choose one of them."
        raise ExplainError(f"The class must be one of {', '.join(names)}. Got {class_name!r}. {hint}")
    return names.index(class_name)


def subjects_of(classifier: Classifier, stored: Tensor, classes: Int[Tensor, "b"]) -> list[Subject]:
    """A subject for each network of the classifier."""
    with torch.no_grad():
        inputs = classifier.finish(stored.to(classifier.device))
    there = classes.to(classifier.device)
    return [Subject(network, inputs, there, classifier.labels) for network in classifier.networks]


def maps_of(subjects: Sequence[Subject], method: str, *, seed: int = 0) -> Float[Tensor, "b _gh _gw"]:
    """The maps of one network, or the mean over several, each scaled to a largest value of 1 first.

    Raises:
        ExplainError: the method is unknown or cannot explain the network, or a map is blank.
    """
    made = member_maps(subjects, method, seed=seed)
    blank = [(image, reason) for image, reason in enumerate(blank_reasons(made)) if reason]
    if blank:
        images = ", ".join(str(image) for image, _ in blank[:5])
        raise ExplainError(
            f"A map must differ from place to place. Got from {method} for image {images} of the batch "
            f"{blank[0][1]}. Ask for another class, or choose another explainer."
        )
    return mean_map(made)


def member_maps(subjects: Sequence[Subject], method: str, *, seed: int = 0) -> list[Float[Tensor, "b _gh _gw"]]:
    """The maps of each network as the explainer gives them, blank ones too.

    Raises:
        ExplainError: the method is unknown or cannot explain the network, or a map is not finite.
    """
    leaf = load_leaf(EXPLAINERS, method, kind="explainer")
    made = []
    for subject in subjects:
        reason = leaf.why_not(subject)
        if reason is not None:
            raise ExplainError(f"{method} must fit the network. Got {type(subject.network).__name__}: {reason}")
        maps = leaf.explain(subject, seed=seed)
        if not bool(torch.isfinite(maps).all()):
            raise ExplainError(f"A map must be finite. Got NaN or infinity from {method}. Choose another explainer.")
        made.append(maps)
    return made


def mean_map(made: Sequence[Float[Tensor, "b gh gw"]]) -> Float[Tensor, "b gh gw"]:
    """One network's maps as they are; of several networks the mean, each map scaled to a largest value of 1 first."""
    if len(made) == 1:
        return made[0]
    tiny = torch.finfo(made[0].dtype).tiny  # a blank map stays blank
    return torch.stack([maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(tiny) for maps in made]).mean(0)


def blank_reasons(made: Sequence[Float[Tensor, "b _gh _gw"]]) -> list[str]:
    """What is blank about each image's map, in any network; empty for a map that differs from place to place."""
    reasons = [""] * len(made[0])
    for maps in made:
        high, low = maps.amax(dim=(1, 2)), maps.amin(dim=(1, 2))
        for image in (high - low <= SAME * high).nonzero().flatten().tolist():
            reasons[image] = ZEROS if high[image] <= 0 else SAME_EVERYWHERE
    return reasons


def heat_of(maps: Float[Tensor, "b _gh _gw"], size: Sequence[int]) -> Float[Tensor, "b h w"]:
    """Maps at the size of the input, bilinear, each from 0 to 1."""
    large = functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear")[:, 0]
    low, high = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
    return (large - low) / (high - low)


def explainer_names() -> list[str]:
    """All explainers that there are, outside ones too."""
    return leaf_names(EXPLAINERS)


def shown_of(classifier: Classifier, subject: Subject) -> UInt8[np.ndarray, "b h w _c"]:
    """The pictures that the network saw, before they were normalized."""
    spec = classifier.input_spec
    mean, std = (
        torch.tensor(it, device=subject.image.device).view(1, -1, 1, 1) for it in (spec.channel_mean, spec.channel_std)
    )
    picture = ((subject.image * std + mean).clamp(0, 1) * 255).round()
    return picture.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
