"""ServedModel: one bundle behind the server, with its batches, its explainer and its card."""

from dataclasses import dataclass
from typing import Any, Protocol

from chiron.experience import experience_with
from chiron.prediction import Prediction
from chiron.scorer import Scorer
from chiron.serve.answers import (
    ClassNamed,
    ExperienceSaid,
    ExplainerSaid,
    InputSaid,
    LimitsSaid,
    ModelCard,
    Question,
    Verdict,
)
from chiron.serve.batching import Batcher
from chiron.serve.limits import Limits
from chiron.spec.decision import questions_of

__all__ = ["Explained", "Explains", "ServedModel"]


@dataclass(frozen=True)
class Explained:
    """A map of one image; pictures are PNG files."""

    class_name: str
    probability: float
    method: str
    notice: str
    overlay: bytes
    image: bytes
    scores: dict[str, float | None]
    verdict: Verdict


class Explains(Protocol):
    """What makes maps of a bundle; called in a thread, one call at a time."""

    def standing(self, method: str | None, class_name: str | None) -> ExplainerSaid:
        """Whether a map may be shown, by the checks that the bundle keeps."""

    def explain(self, data: bytes, method: str | None, class_name: str | None) -> Explained:
        """A map of one image."""


@dataclass(frozen=True)
class ServedModel:
    """A scorer under a name; `explains` is None where a network cannot be explained, as an exported one."""

    name: str
    scorer: Scorer
    batcher: Batcher
    explains: Explains | None = None

    @classmethod
    def of(cls, name: str, scorer: Scorer, explains: Explains | None = None) -> "ServedModel":
        """A model with batches of its own."""
        return cls(name, scorer, Batcher(scorer.outputs), explains)

    def card(self, limits: Limits) -> ModelCard:
        """What the model is, for whom it was made, and what it takes."""
        scorer = self.scorer
        labels, decision, spec = scorer.labels, scorer.decision, scorer.input_spec
        asked = questions_of(decision.questions, labels.names, labels.positive, several=labels.is_multi_label)
        return ModelCard(
            name=self.name,
            bundle_id=scorer.bundle_id,
            network=scorer.network_spec.name,
            classes=[ClassNamed(name=it, description=labels.descriptions.get(it, "")) for it in labels.names],
            several=labels.is_multi_label,
            positive=labels.positive,
            unit=decision.unit,
            calibrated=decision.calibration.method != "none",
            questions=[
                Question(name=question, classes=list(classes), threshold=self._threshold(question))
                for question, classes in asked.items()
            ],
            prediction_sets=self._prediction_sets(),
            input=InputSaid(img_size=spec.img_size, in_chans=spec.in_chans, bit_depth=spec.bit_depth),
            intended_use=scorer.intended_use.model_dump(mode="json"),
            explainer=self.explainer(),
            limits=LimitsSaid(max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, max_images=limits.max_images),
            created="" if scorer.provenance is None else scorer.provenance.created,
            warnings=self._warnings(),
        )

    def explainer(self, method: str | None = None, class_name: str | None = None) -> ExplainerSaid:
        """How an explainer stands by the checks of the bundle; by default the one that is taken when none is named."""
        if self.explains is None:
            return ExplainerSaid(
                may_be_shown=False,
                method=None,
                words="not explained: an exported network gives no maps",
                reasons=["serve the bundle itself to see where the model reacted"],
            )
        return self.explains.standing(method, class_name)

    def experience(self, prediction: Prediction) -> list[ExperienceSaid]:
        """How often test cases with such an output were right."""
        return [ExperienceSaid.model_validate(it) for it in experience_with(self.scorer, prediction)]

    def _threshold(self, question: str) -> dict[str, Any] | None:
        threshold = self.scorer.decision.threshold_of(question)
        if threshold is None:
            return None
        told = threshold.model_dump(mode="json", exclude={"question", "classes"})
        return told | {"sensitivity_promised": threshold.sensitivity}

    def _prediction_sets(self) -> dict[str, Any] | None:
        conformal = self.scorer.decision.conformal
        if conformal is None:
            return None
        return conformal.model_dump(mode="json", include={"score", "alpha", "by", "num_groups", "fitted_on"})

    def _warnings(self) -> list[str]:
        decision, found = self.scorer.decision, []
        if decision.calibration.method == "none":
            found.append("Probabilities are the network's own: they were not calibrated.")
        if decision.calibration.fitted_on == "reuse_val":
            found.append("The decision was fitted on the images that chose the network: it is optimistic.")
        if decision.unit != "image":
            found.append(f"One answer is for a {decision.unit}: send all its images together.")
        if not self.scorer.intended_use.population:
            found.append("The bundle does not say for whom it was made.")
        return found
