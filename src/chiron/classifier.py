"""Classifier = preprocess + network + decision: the one object for use, saved and loaded as a bundle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from PIL import Image
from torch import Tensor, nn

from chiron.bundle import (
    BundleSpec,
    NetworkSpec,
    read_bundle,
    read_explainer_checks,
    write_bundle,
    write_explainer_checks,
)
from chiron.core.errors import BundleError, DataError
from chiron.data.dataset import to_tensor
from chiron.data.known_images import KnownImages
from chiron.decide.combine import combine_logits
from chiron.decide.members import probabilities, question_score, sets_of
from chiron.models.create import create_model
from chiron.preprocess.decode import CanonicalImage, decode_array, decode_image, decode_pil
from chiron.preprocess.finish import Finish
from chiron.preprocess.resize import StoredImage, canonical_resize
from chiron.spec.decision import Decision, Threshold
from chiron.spec.explainer_check import ExplainerCheck
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import DISCLAIMER, Provenance
from chiron.spec.recipe import IntendedUse

ImageLike = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class Answer:
    """What is told to a clinical question: its score, the threshold that decided, and yes or no.

    Without a threshold the answer is yes where the class named is one of the question's.
    """

    score: float
    threshold: float | None
    answer: Literal["yes", "no"]


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image or unit. `confidence` is the probability of the class named.

    Where an image can have several classes or none, no class is named, so that `predicted_class` and `confidence` are
    None; every probability then stands for itself, and `classes_above_half` are those of 0.5 and more, the decision
    that sensitivity and specificity in a report speak of. An empty tuple does not rule any class out, and no answer
    `no` rules out disease. `prediction_set` holds the classes that cannot be left out at the bundle's error rate.
    """

    predicted_class: str | None
    predicted_class_description: str
    confidence: float | None
    probabilities: dict[str, float]
    classes_above_half: tuple[str, ...] | None = None  # of several classes only
    calibrated: bool = False  # whether the probabilities were fitted to cases, or are the network's own
    decisions: dict[str, Answer] = field(default_factory=dict)  # of bundles with clinical questions or thresholds
    prediction_set: tuple[str, ...] | None = None  # of bundles with conformal sets
    disclaimer: str = DISCLAIMER

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without what belongs to the other kind of labels or was not asked for."""
        if self.classes_above_half is None:
            others: set[str] = {"classes_above_half"}
        else:
            others = {"predicted_class", "predicted_class_description", "confidence"}
        others |= {"decisions"} if not self.decisions else set()
        others |= {"prediction_set"} if self.prediction_set is None else set()
        return {name: value for name, value in asdict(self).items() if name not in others}


class Classifier:
    """One or more networks that read the same input, and all that is needed to use them.

    Kept numbers are computed in fp32, eager, in evaluation mode: `logits` is the only road from pixels to numbers.
    """

    def __init__(
        self,
        networks: list[nn.Module],
        *,
        network_spec: NetworkSpec,
        input_spec: InputSpec,
        labels: LabelSpace,
        provenance: Provenance | None = None,  # there is none yet while a network is trained
        decision: Decision | None = None,
        intended_use: IntendedUse | None = None,
        bundle_id: str = "unsaved",
        explainers: Sequence[ExplainerCheck] = (),
    ) -> None:
        self.networks = nn.ModuleList(networks).eval().float()
        self.network_spec, self.input_spec, self.labels = network_spec, input_spec, labels
        self.decision, self.intended_use = decision or Decision(), intended_use or IntendedUse()
        self.provenance, self.bundle_id = provenance, bundle_id
        self.explainers = tuple(explainers)  # see `chiron.explanation.checked`
        self.finish = Finish(input_spec)

    def to(self, device: torch.device | str) -> "Classifier":
        """Moves networks and preprocessing to `device`."""
        self.networks.to(device)
        self.finish.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.finish.scale.device

    def store(self, image: ImageLike) -> StoredImage:
        """`decode` and `canonical resize` of a path, encoded bytes, an open Pillow image or a uint8 / uint16 array.

        Images and arrays are taken as they are: `input.decode: scaled` speaks of files.
        """
        return canonical_resize(decode_any(image, min_side=self.input_spec.decode_min_side), self.input_spec)

    def logits(self, stored: Shaped[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits, one column a class of `labels.names`; of several networks the mean.

        A one-logit network gives its z for the positive class and 0 for the other.
        """
        return self.member_logits(stored).mean(0)

    @torch.inference_mode()
    def member_logits(
        self, stored: Shaped[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "members batch classes"]:
        """The logits of each network: what probabilities are made of where each was calibrated by itself."""
        with torch.autocast(self.device.type, enabled=False):
            inputs = self.finish(stored.to(self.device))
            return torch.stack([class_logits(network(*inputs), self.labels) for network in self.networks])

    def probabilities(self, logits: Float[Tensor, "*members batch classes"]) -> Float[Tensor, "batch classes"]:
        """Calibrated probabilities as the decision says, or the network's own; in float64.

        Softmax over classes, or a sigmoid a class where several may be true.

        Args:
            logits: of each network, or their mean.
        Raises:
            DecisionError: the networks were calibrated one by one, and their mean is given.
        """
        made = probabilities(_members(logits), self.decision.calibration, several=self.labels.is_multi_label)
        return torch.from_numpy(made)

    def predict(self, image: ImageLike) -> Prediction:
        """The model output for one image.

        Raises:
            PreprocessError: the image cannot be decoded.
            DataError: a path that does not exist.
        """
        return self.read_out(self.member_logits(to_tensor(self.store(image))[None]))[0]

    def predict_unit(self, images: Sequence[ImageLike]) -> Prediction:
        """The model output for the images of one unit (patient, lesion, exam) together, by the decision's rule.

        Raises:
            PreprocessError: an image cannot be decoded.
            DataError: a path that does not exist, or no image.
        """
        if not images:
            raise DataError("A unit must have an image. Got none. Give at least one.")
        stored = torch.stack([to_tensor(self.store(image)) for image in images])
        return self.read_out(self.combined(self.member_logits(stored)))[0]

    def combined(self, logits: Float[Tensor, "members images classes"]) -> Float[Tensor, "members one classes"]:
        """The logits of one unit, of each network, from those of its images."""
        exact = logits.cpu().double().numpy()
        how = {"several": self.labels.is_multi_label, "positive_index": self.labels.positive_index}
        one_unit = np.zeros(exact.shape[1], dtype=np.int64)
        made = [combine_logits(own, one_unit, self.decision.combine, **how) for own in exact]  # type: ignore[arg-type]
        return torch.from_numpy(np.stack(made))

    def read_out(self, logits: Float[Tensor, "*members batch classes"]) -> list[Prediction]:
        """One Prediction a row of logits, of each network or of their mean."""
        exact, probs = _members(logits), self.probabilities(logits).numpy()
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

    def save(self, folder: str | Path, *, known: KnownImages | None = None) -> str:
        """Writes the bundle and returns its id.

        Args:
            known: the images that it was made with, to be recognized among others.
        Raises:
            BundleError: the classifier has no provenance.
            OutputError: the folder cannot be written.
        """
        if self.provenance is None:
            raise BundleError(
                "A bundle must say where it comes from. Got a classifier without provenance. Set it first."
            )
        tensors = {
            f"member_{k}.{name}": tensor
            for k, network in enumerate(self.networks)
            for name, tensor in network.state_dict().items()
        }
        spec = BundleSpec(
            network=self.network_spec,
            input=self.input_spec,
            labels=self.labels,
            decision=self.decision,
            intended_use=self.intended_use,
            provenance=self.provenance,
        )
        former, self.bundle_id = self.bundle_id, write_bundle(Path(folder), spec, tensors, known)
        self.explainers = self.explainers if former == self.bundle_id else ()  # they were of that bundle
        if self.explainers:
            write_explainer_checks(Path(folder), self.bundle_id, self.explainers)
        return self.bundle_id


def _members(logits: Tensor) -> Float[np.ndarray, "_members _batch _classes"]:
    """A set of logits a network, or one of their mean; in float64, which Apple's GPU has not."""
    exact = logits.cpu().double().numpy()
    return exact if exact.ndim == 3 else exact[np.newaxis]


def _answer(score: float, threshold: Threshold | None, names_it: bool) -> Answer:
    """Yes from the threshold on, or where the class named is one of the question's."""
    is_yes = names_it if threshold is None else score >= threshold.value
    return Answer(score, None if threshold is None else threshold.value, "yes" if is_yes else "no")


def load(folder: str | Path, *, device: str = "cpu") -> Classifier:
    """The classifier in a bundle or run folder; predicts the same as the one that was saved.

    Raises:
        BundleError: the bundle is missing, damaged, or its tensors do not fit its network.
    """
    identity, spec, tensors = read_bundle(Path(folder))
    networks = []
    for k in range(spec.network.members):
        network = build_network(spec.network, spec.input, spec.labels)
        prefix = f"member_{k}."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        try:
            network.load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise BundleError(
                f"A bundle's tensors must fit its network {spec.network.name}. Got {error}. "
                "Use the library versions named in its README.md."
            ) from error
        networks.append(network)
    classifier = Classifier(
        networks,
        network_spec=spec.network,
        input_spec=spec.input,
        labels=spec.labels,
        decision=spec.decision,
        intended_use=spec.intended_use,
        provenance=spec.provenance,
        bundle_id=identity,
        explainers=read_explainer_checks(Path(folder), identity),
    )
    return classifier.to(device)


def build_network(
    network: NetworkSpec,
    input_spec: InputSpec,
    labels: LabelSpace,
    *,
    init: str = "scratch",
    weights: str | None = None,
    seed: int = 0,
) -> nn.Module:
    """The network of a specification with its first weights; the arguments are those of `create_model`."""
    return create_model(
        network.name,
        num_classes=labels.num_outputs,
        in_chans=input_spec.in_chans,
        img_size=input_spec.img_size,
        with_mask=input_spec.mask != "none",
        head=network.head,
        head_args=network.head_args,
        init=init,
        weights=weights,
        seed=seed,
        **network.args,
    )


def class_logits(out: Float[Tensor, "batch outputs"], labels: LabelSpace) -> Float[Tensor, "batch classes"]:
    """A column a class; the one logit of a binary network becomes (0, z) in the order of the names."""
    if not labels.one_logit:
        return out
    zeros = torch.zeros_like(out)
    return torch.cat([out, zeros] if labels.positive_index == 0 else [zeros, out], dim=1)


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
