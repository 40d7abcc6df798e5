"""One map for a server: the same explainers, scores and checks as `chiron explain`, of one upload."""

import copy
import io

import numpy as np
import torch
from PIL import Image

from chiron.classifier import Classifier
from chiron.core.errors import ExplainError
from chiron.data.dataset import to_tensor
from chiron.explanation.checked import standing_in_bundle
from chiron.explanation.choose import chosen
from chiron.explanation.explain import NOTICE, subjects_of
from chiron.explanation.scored import ScoredExplainer
from chiron.report.plots.saliency import overlay
from chiron.scorer import Scorer
from chiron.serve.answers import ExplainerSaid, Verdict
from chiron.serve.intake import opened
from chiron.serve.limits import Limits
from chiron.serve.served_model import Explained

__all__ = ["ExplainsOne"]


class ExplainsOne:
    """Maps of one bundle; `served_model.Explains`.

    An explainer hooks into layers and takes gradients, so that it works on a copy of the networks: the ones that answer
    requests run in another thread at the same time.
    """

    def __init__(self, scorer: Scorer, limits: Limits) -> None:
        assert isinstance(scorer, Classifier)
        self.classifier, self.limits = copy.deepcopy(scorer), limits
        self._auto = self._method_of_auto()

    def standing(self, method: str | None, class_name: str | None) -> ExplainerSaid:
        """Whether a map may be shown, by the checks that the bundle keeps."""
        name = method or self._auto
        if name is None:
            return ExplainerSaid(may_be_shown=False, method=None, words="not explained: no explainer fits", reasons=[])
        found = standing_in_bundle(self.classifier.explainers, name, class_name=class_name)
        return ExplainerSaid(
            may_be_shown=found.may_be_shown, method=name, words=found.words, reasons=list(found.reasons)
        )

    def explain(self, data: bytes, method: str | None, class_name: str | None) -> Explained:
        """A map of one image.

        Raises:
            PreprocessError: the image cannot be used.
            ExplainError: unknown method or class, a network that the method cannot explain, or a blank map.
        """
        explainer = ScoredExplainer(self.classifier, method=method or self._auto or "auto", class_name=class_name)
        stored = to_tensor(opened(data, "image 1", self.classifier, self.limits).stored)[None]
        made = explainer.batch(stored)[0]
        if made.blank:
            raise ExplainError(f"A map must differ from place to place. Got {made.blank}. Ask for another class.")
        standing = self.standing(explainer.method, made.class_name)
        return Explained(
            class_name=made.class_name,
            probability=made.probability,
            method=explainer.method,
            notice=NOTICE,
            overlay=_png(overlay(made.shown, made.heat)),
            image=_png(made.shown),
            scores={key: value if np.isfinite(value) else None for key, value in made.scores.items()},
            verdict=Verdict(may_be_shown=standing.may_be_shown, words=standing.words, reasons=standing.reasons),
        )

    def _method_of_auto(self) -> str | None:
        """The explainer that is taken when none is named: it follows from networks and checks, not from the image."""
        spec = self.classifier.input_spec
        blank = np.zeros((spec.stored_size, spec.stored_size, spec.stored_chans), dtype=f"uint{spec.bit_depth}")
        subject = subjects_of(self.classifier, to_tensor(blank)[None], torch.zeros(1, dtype=torch.long))[0]
        try:
            return chosen(subject, self.classifier.explainers).method
        except ExplainError:
            return None


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()
