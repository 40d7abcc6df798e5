"""Whether an exported graph says what the bundle says: compared on golden images, in batches of several sizes."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from chiron.classifier import Classifier
from chiron.core.errors import ExportError
from chiron.exporting.golden import golden_images
from chiron.scorer import StoredImages
from chiron.spec.export_spec import Agreement

TOLERANCE = 1e-4  # of a probability
LOGIT_TOLERANCE = 1e-3  # as a share of the largest logit: a saturated probability hides much
DISTANCE_TOLERANCE = 1e-3  # of an out-of-scope distance, as a share of it; every precision keeps it in fp32
BATCHES = (1, 2, 5)  # and all that is left at once

Run = Callable[[StoredImages], dict[str, np.ndarray]]


def agreement(classifier: Classifier, run: Run, *, required: bool) -> Agreement:
    """The largest difference of a probability from eager fp32, of the graph's own and of those made of its logits.

    Args:
        run: the exported graph.
        required: whether more than the tolerance is an error; of lower precisions other cases decide.
    Raises:
        ExportError: a difference above the tolerance, or outputs that are not finite.
    """
    images = golden_images(classifier)
    outputs = classifier.outputs(images)
    expected, probabilities = outputs.logits, classifier.probabilities(outputs.logits)
    found = _in_batches(run, images)
    _require_distances(found.get("distances"), outputs.distances)
    logits = found["logits"].astype(np.float64)
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        raise ExportError(
            f"An exported graph must give finite logits of shape {expected.shape}. Got others: {logits.shape}. "
            "Use another format, or the bundle itself."
        )
    largest = max(
        float(np.abs(found["probabilities"] - probabilities).max()),
        float(np.abs(classifier.probabilities(logits) - probabilities).max()),
    )
    apart = float(np.abs(logits - expected).max() / max(1e-3, np.abs(expected).max()))
    if required and not (largest <= TOLERANCE and apart <= LOGIT_TOLERANCE):
        raise ExportError(
            f"An exported graph must differ from the bundle by at most {TOLERANCE:g} in a probability and by "
            f"{LOGIT_TOLERANCE:g} of the largest logit. Got {largest:.2g} and {apart:.2g} over {len(images)} golden "
            "images. Nothing was written; use another format, or the bundle itself."
        )
    return Agreement(largest_difference=largest, num_images=len(images))


def _require_distances(found: Float[np.ndarray, "n"] | None, expected: Float[np.ndarray, "_bundles n"] | None) -> None:
    """Stops where the out-of-scope score is another one, or is there for one of the two alone.

    Raises:
        ExportError: it is.
    """
    if found is None and expected is None:
        return
    apart = np.inf if found is None or expected is None else float(np.abs(found / expected[0] - 1).max())
    if not apart <= DISTANCE_TOLERANCE:
        raise ExportError(
            f"An exported graph must tell the bundle's out-of-scope distances up to {DISTANCE_TOLERANCE:g} of them. "
            f"Got {apart:.2g}. Nothing was written; use another format, or the bundle itself."
        )


def _in_batches(run: Run, images: StoredImages) -> dict[str, np.ndarray]:
    """The outputs for all images, which go through in batches of different sizes."""
    parts = [run(batch) for batch in np.split(images, np.cumsum(BATCHES))]
    axes = {"logits": 1, "probabilities": 0, "distances": 0}
    return {name: np.concatenate([part[name] for part in parts], axis=axes[name]) for name in parts[0]}
