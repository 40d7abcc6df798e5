"""Phantoms to try explainers on: images whose findings lie off the center, and where these and a planted mark are.

A map that is always largest in the middle hits what lies in the middle. So an image counts only where no finding
reaches the middle ninth of the image (the middle third of its rows and columns). Phantom lesions of the skin all lie
there, so that only chest phantoms serve.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from chiron.classifier import Classifier
from chiron.core.errors import ExplainError
from chiron.data.dataset import to_tensor
from chiron.data.phantoms.cxr import CLASS_OF_INTEREST, CLASSES, NAME, draw_phantom_cxr
from chiron.data.phantoms.planted import NOTHING_PLANTED, Planted
from chiron.explanation.subject import probs_of
from chiron.metrics.by_name import estimate_by_name
from chiron.metrics.cases import check_cases
from chiron.metrics.estimate import Estimate

__all__ = ["MARKS", "PlantedImages", "auroc_of", "draw_planted", "off_center"]

MARKS = ("corner_marker", "ruler")  # the shortcuts that stand at a place
IMAGES_PER_PATIENT = (1, 2)


@dataclass(frozen=True)
class PlantedImages:
    """Images as a classifier stores them, and where what was drawn lies, at the size of the network's input."""

    stored: Tensor
    targets: Int[np.ndarray, "n"]  # places in the classifier's labels
    findings: Bool[Tensor, "n h w"]
    marks: Bool[Tensor, "n h w"]  # empty without a shortcut
    patient_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.patient_ids)

    def rows(self, places: Int[Tensor, "m"]) -> "PlantedImages":
        """The images at `places`."""
        ids = tuple(self.patient_ids[place] for place in places.tolist())
        return PlantedImages(
            self.stored[places], self.targets[places.numpy()], self.findings[places], self.marks[places], ids
        )


def draw_planted(
    classifier: Classifier, *, num_images: int, difficulty: float, seed: int, shortcut: str | None = None
) -> PlantedImages:
    """Phantoms of the size that the classifier's networks see.

    Args:
        shortcut: a mark that follows the class; where it is comes from the same images without it.
    Raises:
        ExplainError: the classifier has other classes than these phantoms, or the shortcut has no place.
    """
    if shortcut is not None and shortcut not in MARKS:
        raise ExplainError(
            f"A shortcut to point at must have a place: {', '.join(MARKS)}. Got {shortcut!r}. Choose one."
        )
    names, size = classifier.labels.names, classifier.input_spec.img_size
    if set(names) != set(CLASSES):
        raise ExplainError(
            f"The bundle must know the classes of {NAME}: {', '.join(CLASSES)}. Got {', '.join(names)}. "
            "Give a bundle that was trained on such phantoms."
        )
    draw = lambda planted: draw_phantom_cxr(  # noqa: E731
        num_images=num_images,
        img_size=size,
        seed=seed,
        difficulty=difficulty,
        images_per_patient=IMAGES_PER_PATIENT,
        planted=planted,
    )
    phantoms = draw(Planted(shortcut=shortcut) if shortcut else NOTHING_PLANTED)
    plain = draw(NOTHING_PLANTED) if shortcut else phantoms
    return PlantedImages(
        torch.stack([to_tensor(classifier.store(image)) for image in phantoms.images]),
        np.array([names.index(phantoms.classes[target]) for target in phantoms.targets]),
        torch.from_numpy(phantoms.masks["finding"] > 0),
        torch.from_numpy(phantoms.images != plain.images),
        tuple(phantoms.patient_ids.tolist()),
    )


def off_center(masks: Bool[Tensor, "n h w"]) -> Bool[Tensor, "n"]:
    """Which images have a finding and none of it in the middle ninth."""
    height, width = masks.shape[1:]
    middle = masks[:, height // 3 : height - height // 3, width // 3 : width - width // 3]
    return masks.flatten(1).any(dim=1) & ~middle.flatten(1).any(dim=1)


def auroc_of(classifier: Classifier, images: PlantedImages, *, batch_size: int = 32) -> Estimate:
    """The AUROC of the finding's class over all images, those without a finding too, by patients."""
    probs = [probs_of(classifier, it).numpy() for it in images.stored.split(batch_size)]
    cases = check_cases(
        images.targets,
        np.concatenate(probs),
        classes=classifier.labels.names,
        positive=CLASS_OF_INTEREST,
        groups=images.patient_ids,
    )
    return estimate_by_name("auroc", cases)
