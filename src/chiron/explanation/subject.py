"""Subject: a network, what it was shown, and the class of each image that is to be explained."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from chiron.classifier import Classifier, class_logits
from chiron.spec.labels import LabelSpace

__all__ = ["PIXELS_AT_ONCE", "Subject"]

PIXELS_AT_ONCE = 32 * 224 * 224  # the memory bound of explainers: changed images in memory together, 32 of 224 px


@dataclass(frozen=True)
class Subject:
    """One network in evaluation mode with inputs that `finish` made; the image first, a mask after it.

    Shapes: b images, c channels, h x w pixels of the network's input.
    """

    network: nn.Module
    inputs: tuple[Float[Tensor, "b _ h w"], ...]
    classes: Int[Tensor, "b"]  # places in labels.names
    labels: LabelSpace

    @property
    def image(self) -> Float[Tensor, "b c h w"]:
        """The normalized images."""
        return self.inputs[0]

    @property
    def num_at_once(self) -> int:
        """How many images of this size an explainer may show the network at once, whatever it changes in them."""
        height, width = self.image.shape[-2:]
        return max(1, PIXELS_AT_ONCE // (height * width))

    def __len__(self) -> int:
        return len(self.classes)

    def rows(self, places: Int[Tensor, "n"]) -> "Subject":
        """The images at `places`, which may repeat."""
        return replace(self, inputs=tuple(it[places] for it in self.inputs), classes=self.classes[places])

    def showing(self, image: Float[Tensor, "b c h w"]) -> "Subject":
        """Other images in place of the own, with the same masks and classes."""
        return replace(self, inputs=(image, *self.inputs[1:]))

    def asking(self, classes: Int[Tensor, "b"]) -> "Subject":
        """The same images with other classes."""
        return replace(self, classes=classes)

    def outputs(self) -> Float[Tensor, "b outputs"]:
        """What the network itself says of its inputs."""
        return self.network(*self.inputs)

    def score(self, outputs: Float[Tensor, "b outputs"]) -> Float[Tensor, "b"]:
        """The logit of each image's class: what gradients are taken of.

        A one-logit network has z for the positive class and -z for the other.
        """
        if self.labels.one_logit:
            is_positive = self.classes.eq(self.labels.names.index(str(self.labels.positive)))
            return torch.where(is_positive, outputs[:, 0], -outputs[:, 0])
        return outputs.gather(1, self.classes[:, None]).squeeze(1)

    def probability(self, outputs: Float[Tensor, "b outputs"]) -> Float[Tensor, "b"]:
        """The network's own, uncalibrated probability of each image's class: what perturbed images are scored by."""
        logits = class_logits(outputs, self.labels)
        probs = logits.sigmoid() if self.labels.is_multi_label else logits.softmax(dim=1)
        return probs.gather(1, self.classes[:, None]).squeeze(1)


def probs_of(classifier: Classifier, stored: Shaped[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
    """The calibrated probabilities of stored images, in float64."""
    return torch.from_numpy(classifier.probabilities(classifier.member_logits(stored).cpu().double().numpy()))
