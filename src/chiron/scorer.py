"""Scorer: what a bundle says of images, whatever runs its networks: torch, or a file that was exported. No torch here.

From a file to what is said of it there is one road: decode, canonical resize, networks, calibration, decision. Only the
networks differ between scorers.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt
from PIL import Image

from chiron.core.errors import BundleError, DataError
from chiron.decide.combine import combine_logits
from chiron.decide.members import member_probabilities, probabilities, question_score, sets_of
from chiron.prediction import Answer, Prediction
from chiron.preprocess.decode import CanonicalImage, decode_array, decode_image, decode_pil
from chiron.preprocess.looks import looks_of
from chiron.preprocess.resize import StoredImage, canonical_resize
from chiron.preprocess.views import views_of
from chiron.referral import problems_of, referral_of, scope_of
from chiron.spec.bundle_spec import BundleSpec, NetworkSpec
from chiron.spec.decision import Decision, Threshold, Tta
from chiron.spec.experience import Experience
from chiron.spec.explainer_check import ExplainerCheck
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import Provenance
from chiron.spec.recipe import IntendedUse
from chiron.spec.scope import ScopeSpec

ImageLike = Any  # a path, encoded bytes, an open Pillow image, an array of uint8 / uint16, a tensor of them
StoredImages = UInt[np.ndarray, "_n _size _size _channels"]


@dataclass(frozen=True)
class Opened:
    """An image as the networks are given it, and what speaks against using it: one plain sentence a problem."""

    stored: StoredImage
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """What networks give for a batch, and all that is ever said of it is made of.

    `logits` are those of each network, in float64: probabilities are made of them one by one where each network was
    calibrated by itself. `distances` tell how unlike the training images of a bundle an image is, a row each where
    several bundles answer together; None without an out-of-scope score. `problems` were seen in the images without a
    network; empty where nobody looked.
    """

    logits: Float[np.ndarray, "_members _n _classes"]
    distances: Float[np.ndarray, "_bundles _n"] | None = None
    problems: tuple[tuple[str, ...], ...] = ()

    def problems_of(self, place: int) -> tuple[str, ...]:
        """Those of one image."""
        return self.problems[place] if self.problems else ()

    def rows(self) -> "list[Outputs]":
        """The same, an image each."""
        return [
            Outputs(
                self.logits[:, [k]],
                None if self.distances is None else self.distances[:, [k]],
                (self.problems_of(k),),
            )
            for k in range(self.logits.shape[1])
        ]

    @classmethod
    def stacked(cls, batches: "Sequence[Outputs]") -> "Outputs":
        """Several batches as one."""
        distances = [batch.distances for batch in batches if batch.distances is not None]
        return cls(
            np.concatenate([batch.logits for batch in batches], axis=1),
            np.concatenate(distances, axis=1) if len(distances) == len(batches) else None,
            tuple(batch.problems_of(k) for batch in batches for k in range(batch.logits.shape[1])),
        )


class Scorer(ABC):
    """One or more networks that read the same input, and all that is needed to use them."""

    logits_say_all = True  # whether probabilities are made of a table's logits by its decision

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
        scope: ScopeSpec | None = None,
    ) -> None:
        self.network_spec, self.input_spec, self.labels = network_spec, input_spec, labels
        self.decision, self.intended_use = decision or Decision(), intended_use or IntendedUse()
        self.provenance, self.bundle_id = provenance, bundle_id
        self.explainers = tuple(explainers)  # see `chiron.explanation.checked`
        self.experience = experience  # see `chiron.experience`
        self.scope = scope

    @property
    def bundle_spec(self) -> BundleSpec:
        """Everything of a bundle but its tensors.

        Raises:
            BundleError: there is no provenance.
        """
        if self.provenance is None:
            raise BundleError(
                "A bundle must say where it comes from. Got a classifier without provenance. Set it first."
            )
        return BundleSpec(
            network=self.network_spec,
            input=self.input_spec,
            labels=self.labels,
            decision=self.decision,
            intended_use=self.intended_use,
            provenance=self.provenance,
            scope=self.scope,
        )

    @abstractmethod
    def outputs(self, stored: StoredImages) -> Outputs:
        """What the networks give for images as `store` makes them, stacked."""

    def store(self, image: ImageLike) -> StoredImage:
        """`decode` and `canonical resize` of an image, see `open`."""
        return canonical_resize(decode_any(image, min_side=self.input_spec.decode_min_side), self.input_spec)

    def open(self, image: ImageLike) -> Opened:
        """An image ready for the networks, and what can be seen to speak against it.

        Args:
            image: a path, encoded bytes, an open Pillow image, or an array or tensor as `decode_any` takes them. These
                last three are taken as they are: `input.decode: scaled` speaks of files.
        Raises:
            PreprocessError: the image cannot be decoded.
            DataError: a path that does not exist.
        """
        pixels = decode_any(image, min_side=self.input_spec.decode_min_side)
        problems = problems_of(looks_of(pixels), self.scope, self.input_spec)
        return Opened(canonical_resize(pixels, self.input_spec), problems)

    def outputs_of(self, opened: Sequence[Opened], *, tta: Tta = "none") -> Outputs:
        """What the networks give for opened images, with what was seen in them.

        Args:
            tta: views of each image whose probabilities are averaged, of each network by itself and before anything is
                calibrated; the distances are those of the images as they are.
        """
        stored = np.stack([it.stored for it in opened])
        views = [self.outputs(np.ascontiguousarray(view)) for view in views_of(stored, tta)]
        logits = self.averaged([view.logits for view in views])
        return replace(views[0], logits=logits, problems=tuple(it.problems for it in opened))

    def averaged(
        self, views: Sequence[Float[np.ndarray, "members n classes"]]
    ) -> Float[np.ndarray, "members n classes"]:
        """Logits whose probabilities are the mean of those of several views of the same images, network by network."""
        if len(views) == 1:
            return views[0]
        image = np.tile(np.arange(views[0].shape[1]), len(views))
        together = np.concatenate(views, axis=1)
        several = self.labels.is_multi_label
        return np.stack([combine_logits(own, image, "mean_prob", several=several) for own in together])

    def predict(self, image: ImageLike, *, tta: Tta = "none") -> Prediction:
        """The model output for one image, as `open` takes it.

        Args:
            tta: see `outputs_of`.
        Raises:
            PreprocessError: the image cannot be decoded.
            DataError: a path that does not exist.
        """
        return self.predict_batch([image], tta=tta)[0]

    def predict_batch(self, images: Iterable[ImageLike], *, tta: Tta = "none") -> list[Prediction]:
        """The model output for each of several images, which may differ in size and kind.

        They are held together; for many, and where some may not be readable, take `chiron.predict`.

        Raises:
            PreprocessError: an image cannot be decoded.
            DataError: a path that does not exist.
        """
        opened = [self.open(image) for image in images]
        return self.read_out(self.outputs_of(opened, tta=tta)) if opened else []

    def predict_unit(self, images: Sequence[ImageLike], *, tta: Tta = "none") -> Prediction:
        """The model output for the images of one unit (patient, lesion, exam) together, by the decision's rule.

        Raises:
            PreprocessError: an image cannot be decoded.
            DataError: a path that does not exist, or no image.
        """
        if not images:
            raise DataError("A unit must have an image. Got none. Give at least one.")
        opened = [self.open(image) for image in images]
        return self.read_out(self.combined(self.outputs_of(opened, tta=tta)))[0]

    def combined(self, outputs: Outputs) -> Outputs:
        """The outputs of one unit from those of its images, by the decision's rule; of each network by itself.

        A unit is as far from the training images as that image of it which is farthest.
        """
        one_unit = np.zeros(outputs.logits.shape[1], dtype=np.int64)
        how: dict[str, Any] = {
            "several": self.labels.is_multi_label,
            "positive_index": self.labels.positive_index,
        }
        rule = self.decision.combine
        return Outputs(
            np.stack([combine_logits(own, one_unit, rule, **how) for own in outputs.logits]),
            None if outputs.distances is None else outputs.distances.max(axis=1, keepdims=True),
            (tuple(dict.fromkeys(problem for own in outputs.problems for problem in own)),),
        )

    def probabilities(self, logits: Float[np.ndarray, "members n classes"]) -> Float[np.ndarray, "n classes"]:
        """Calibrated probabilities as the decision says, or the network's own; in float64.

        Softmax over classes, or a sigmoid a class where several may be true.

        Args:
            logits: of each network, or one set: their mean.
        Raises:
            DecisionError: the networks were calibrated one by one, and their mean is given.
        """
        return probabilities(logits, self.decision.calibration, several=self.labels.is_multi_label)

    def member_probabilities(
        self, logits: Float[np.ndarray, "members n classes"]
    ) -> Float[np.ndarray, "members n classes"]:
        """Probabilities of each network by itself: by its own calibration, or by the one of all."""
        calibration, several = self.decision.calibration, self.labels.is_multi_label
        if len(calibration.parameters) > 1:
            return member_probabilities(logits, calibration, several=several)
        return np.stack([self.probabilities(own[np.newaxis]) for own in logits])

    @property
    def is_calibrated(self) -> bool:
        """Whether probabilities were fitted to cases, or are the network's own."""
        return self.decision.calibration.method != "none"

    @property
    def questions(self) -> dict[str, tuple[str, ...]]:
        """The clinical questions that every prediction answers, with their classes."""
        if not (self.decision.questions or self.decision.thresholds):
            return {}
        labels = self.labels
        return self.decision.asked_of(labels.names, labels.positive, several=labels.is_multi_label)

    @property
    def has_prediction_sets(self) -> bool:
        """Whether every prediction has a set; sets by a column of the data need its value, which an image has not."""
        return self.decision.conformal is not None and self.decision.conformal.by in ("all", "class")

    def read_out(self, outputs: Outputs) -> list[Prediction]:
        """One Prediction a row of `outputs`."""
        exact, probs = outputs.logits, self.probabilities(outputs.logits)
        sets = sets_of(exact, self.decision, self.labels.names)
        names, asked = self.labels.names, self.questions
        scores = {question: question_score(probs, classes, names) for question, classes in asked.items()}
        by_network = self.member_probabilities(exact) if len(exact) > 1 else None
        read, each = [], outputs.rows()
        for place, row in enumerate(probs):
            best = names[int(row.argmax())]
            answers = {
                question: _answer(float(scores[question][place]), self.decision.threshold_of(question), best in classes)
                for question, classes in asked.items()
            }
            held = None if sets is None else tuple(it for it, inside in zip(names, sets[place], strict=True) if inside)
            spread = None if by_network is None else _spread(by_network[:, place], names)
            read.append(self._prediction(row, answers, held, spread, each[place]))
        return read

    def _prediction(
        self,
        probs: np.ndarray,
        answers: dict[str, Answer],
        prediction_set: tuple[str, ...] | None,
        spread: dict[str, tuple[float, float]] | None,
        own: Outputs,
    ) -> Prediction:
        names, problems = self.labels.names, own.problems_of(0)
        values = {name: float(p) for name, p in zip(names, probs, strict=True)}
        scope = None
        if self.scope is not None and own.distances is not None:
            scope = scope_of(own.distances[:, 0], problems, self.scope)
        best = names[int(probs.argmax())]
        confidence = None if self.labels.is_multi_label else values[best]
        decided: dict[str, Any] = {
            "probabilities": values,
            "calibrated": self.is_calibrated,
            "decisions": answers,
            "prediction_set": prediction_set,
            "spread": spread,
            "scope": scope,
            "referral": referral_of(scope, problems, answers, prediction_set, confidence, self.decision),
        }
        if self.labels.is_multi_label:
            return Prediction(None, "", None, classes_above_half=tuple(n for n in names if values[n] >= 0.5), **decided)
        return Prediction(best, self.labels.descriptions.get(best, ""), confidence, **decided)


def _answer(score: float, threshold: Threshold | None, names_it: bool) -> Answer:
    """Yes from the threshold on, or where the class named is one of the question's."""
    is_yes = names_it if threshold is None else score >= threshold.value
    return Answer(score, None if threshold is None else threshold.value, "yes" if is_yes else "no")


def _spread(probs: Float[np.ndarray, "members classes"], names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The smallest and the largest probability of each class."""
    return {name: (float(own.min()), float(own.max())) for name, own in zip(names, probs.T, strict=True)}


def decode_any(image: ImageLike, *, min_side: int | None = None) -> CanonicalImage:
    """The canonical array of anything a user may hand over.

    Args:
        image: a path, encoded bytes, an open Pillow image, an array (height, width[, channels]) or a torch tensor
            ([channels,] height, width), of uint8 or uint16 over the full range.
        min_side: as in `decode_image`; of paths and bytes alone.
    Raises:
        PreprocessError: it cannot be decoded.
        DataError: a path that does not exist, or something else than an image.
    """
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
    torch = sys.modules.get("torch")  # who has a tensor has loaded it
    if torch is not None and isinstance(image, torch.Tensor):
        array = image.detach().cpu().numpy()
        return decode_array(array.transpose(1, 2, 0) if array.ndim == 3 else array, "tensor")
    raise DataError(
        "An image must be a path, bytes, a Pillow image, or an array or tensor of uint8 or uint16. Got "
        f"{type(image).__name__}. Convert it first."
    )
