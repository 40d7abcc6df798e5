"""Features of a network that is not trained here: what its classifier would see of each image, in fp32, eager."""

import numpy as np
import torch
from jaxtyping import Float

from chiron.classifier import Classifier
from chiron.core.errors import ModelError
from chiron.data.dataset import StoredImages
from chiron.engine.runtime import Runtime


@torch.inference_mode()
def frozen_features(
    classifier: Classifier, images: StoredImages, runtime: Runtime, *, batch_size: int = 32
) -> Float[np.ndarray, "n width"]:
    """One vector an image, in order, through the classifier's own preprocessing.

    Raises:
        ModelError: the network does not follow timm's contract of `forward_features` and `forward_head(pre_logits=)`.
    """
    network = classifier.networks[0]
    if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
        raise ModelError(
            f"Frozen features need a network with timm's forward_features and forward_head. Got "
            f"{classifier.network_spec.name}. Name another one under features."
        )
    parts = []
    for pixels, _ in runtime.loader(images, batch_size=batch_size):
        with torch.autocast(classifier.device.type, enabled=False):
            inputs = classifier.finish(pixels.to(classifier.device))
            vectors = network.forward_head(network.forward_features(*inputs), pre_logits=True)  # type: ignore[operator]
        parts.append(vectors.flatten(1).float().cpu().numpy())
    return np.concatenate(parts).astype(np.float64)
