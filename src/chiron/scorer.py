"""Scorer: what a bundle says of images, whatever runs its networks: torch, or a file that was exported. No torch here.

From a file to what is said of it there is one road: decode, canonical resize, networks, calibration, decision. Only the
networks differ between scorers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt
from PIL import Image

from chiron.core.errors import DataError
from chiron.decide.combine import combine_logits
from chiron.decide.members import probabilities, question_score, sets_of
from chiron.prediction import Answer, Prediction
from chiron.preprocess.decode import CanonicalImage, decode_array, decode_image, decode_pil
from chiron.preprocess.resize import StoredImage, canonical_resize
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.decision import Decision, Threshold
from chiron.spec.experience import Experience
from chiron.spec.explainer_check import ExplainerCheck
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import Provenance
from chiron.spec.recipe import IntendedUse

ImageLike = str | Path | bytes | Image.Image | np.ndarray
StoredImages = UInt[np.ndarray, "_n _size _size _channels"]


@dataclass(frozen=True)
class Outputs:
    """What networks give for a batch, and all that is ever said of it is made of.

    `logits` are those of each network, in float64: probabilities are made of them one by one where each network was
    calibrated by itself.
    """

    logits: Float[np.ndarray, "_members _n _classes"]

    def rows(self) -> "list[Outputs]":
        """The same, an image each."""
        return [Outputs(self.logits[:, [k]]) for k in range(self.logits.shape[1])]

    @classmethod
    def stacked(cls, batches: "Sequence[Outputs]") -> "Outputs":
        """Several batches as one."""
        return cls(np.concatenate([batch.logits for batch in batches], axis=1))


class Scorer(ABC):
    """One or more networks that read the same input, and all that is needed to use them."""

    def __init__(
        self,
        *,
        network_spec: NetworkSpec,
        input_spec: InputSpec,
        labels: LabelSpace,
        provenance: Provenance | None = None,  # there is none yet while a network is trained
        decision: Decision | None = None,
        intended_use: IntendedUse | None = None,
        bundle_id: str = "unsaved",
        explainers: Sequence[ExplainerCheck] = (),
        experience: Experience | None = None,
    ) -> None:
        self.network_spec, self.input_spec, self.labels = network_spec, input_spec, labels
        self.decision, self.intended_use = decision or Decision(), intended_use or IntendedUse()
        self.provenance, self.bundle_id = provenance, bundle_id
        self.explainers = tuple(explainers)  # see `chiron.explanation.checked`
        self.experience = experience  # see `chiron.experience`

    @abstractmethod
    def outputs(self, stored: StoredImages) -> Outputs:
        """What the networks give for images as `store` makes them, stacked."""

    def store(self, image: ImageLike) -> StoredImage:
        """`decode` and `canonical resize` of a path, encoded bytes, an open Pillow image or a uint8 / uint16 array.

        Images and arrays are taken as they are: `input.decode: scaled` speaks of files.
        """
        return canonical_resize(decode_any(image, min_side=self.input_spec.decode_min_side), self.input_spec)

    def predict(self, image: ImageLike) -> Prediction:
        """The model output for one image.

        Raises:
            PreprocessError: the image cannot be decoded.
            DataError: a path that does not exist.
        """
        return self.read_out(self.outputs(self.store(image)[np.newaxis]))[0]

    def predict_unit(self, images: Sequence[ImageLike]) -> Prediction:
        """The model output for the images of one unit (patient, lesion, exam) together, by the decision's rule.

        Raises:
            PreprocessError: an image cannot be decoded.
            DataError: a path that does not exist, or no image.
        """
        if not images:
            raise DataError("A unit must have an image. Got none. Give at least one.")
        stored = np.stack([self.store(image) for image in images])
        return self.read_out(self.combined(self.outputs(stored)))[0]

    def combined(self, outputs: Outputs) -> Outputs:
        """The outputs of one unit from those of its images, by the decision's rule; of each network by itself."""
        one_unit = np.zeros(outputs.logits.shape[1], dtype=np.int64)
        how: dict[str, Any] = {
            "several": self.labels.is_multi_label,
            "positive_index": self.labels.positive_index,
        }
        rule = self.decision.combine
        return Outputs(np.stack([combine_logits(own, one_unit, rule, **how) for own in outputs.logits]))

    def probabilities(self, logits: Float[np.ndarray, "members n classes"]) -> Float[np.ndarray, "n classes"]:
        """Calibrated probabilities as the decision says, or the network's own; in float64.

        Softmax over classes, or a sigmoid a class where several may be true.

        Args:
            logits: of each network, or one set: their mean.
        Raises:
            DecisionError: the networks were calibrated one by one, and their mean is given.
        """
        return probabilities(logits, self.decision.calibration, several=self.labels.is_multi_label)

    def read_out(self, outputs: Outputs) -> list[Prediction]:
        """One Prediction a row of `outputs`."""
        exact, probs = outputs.logits, self.probabilities(outputs.logits)
        sets = sets_of(exact, self.decision, self.labels.names)
        names, several = self.labels.names, self.labels.is_multi_label
        asked: dict[str, tuple[str, ...]] = {}
        if self.decision.questions or self.decision.thresholds:
            asked = self.decision.asked_of(names, self.labels.positive, several=several)
        scores = {question: question_score(probs, classes, names) for question, classes in asked.items()}
        read = []
        for place, row in enumerate(probs):
            best = names[int(row.argmax())]
            answers = {
                question: _answer(float(scores[question][place]), self.decision.threshold_of(question), best in classes)
                for question, classes in asked.items()
            }
            held = None if sets is None else tuple(it for it, inside in zip(names, sets[place], strict=True) if inside)
            read.append(self._prediction(row, answers, held))
        return read

    def _prediction(
        self, probs: np.ndarray, answers: dict[str, Answer], prediction_set: tuple[str, ...] | None
    ) -> Prediction:
        names = self.labels.names
        values = {name: float(p) for name, p in zip(names, probs, strict=True)}
        decided: dict[str, Any] = {
            "probabilities": values,
            "calibrated": self.decision.calibration.method != "none",
            "decisions": answers,
            "prediction_set": prediction_set,
        }
        if self.labels.is_multi_label:
            return Prediction(None, "", None, classes_above_half=tuple(n for n in names if values[n] >= 0.5), **decided)
        best = names[int(probs.argmax())]
        return Prediction(best, self.labels.descriptions.get(best, ""), float(probs.max()), **decided)


def _answer(score: float, threshold: Threshold | None, names_it: bool) -> Answer:
    """Yes from the threshold on, or where the class named is one of the question's."""
    is_yes = names_it if threshold is None else score >= threshold.value
    return Answer(score, None if threshold is None else threshold.value, "yes" if is_yes else "no")


def decode_any(image: ImageLike, *, min_side: int | None = None) -> CanonicalImage:
    """The canonical array of anything a user may hand over; `min_side` as in `decode_image`."""
    if isinstance(image, str | Path):
        path = Path(image)
        try:
            return decode_image(path.read_bytes(), path.name, min_side=min_side)
        except OSError as error:
            raise DataError(f"An image file must be readable. Got {error.strerror} at {path}.") from error
    if isinstance(image, bytes):
        return decode_image(image, min_side=min_side)
    if isinstance(image, Image.Image):
        return decode_pil(image)
    if isinstance(image, np.ndarray):
        return decode_array(image)
    raise DataError(
        f"An image must be a path, bytes, a Pillow image or a uint8 / uint16 array. Got {type(image).__name__}."
    )
