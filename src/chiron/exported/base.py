"""ExportedScorer: what a bundle says of images by a graph that was exported. No torch here."""

from abc import abstractmethod

import numpy as np

from chiron.scorer import Outputs, Scorer, StoredImages
from chiron.spec.export_spec import ExportSpec


class ExportedScorer(Scorer):
    """A file that holds networks and all that is needed to use them.

    The graph gives probabilities too, for other programs. Here they are made of its logits in float64, as those of
    every scorer, so that thresholds and prediction sets see the numbers that they were fitted on.
    """

    def __init__(self, spec: ExportSpec) -> None:
        self.spec = spec
        super().__init__(
            network_spec=spec.bundle.network,
            input_spec=spec.bundle.input,
            labels=spec.bundle.labels,
            decision=spec.bundle.decision,
            intended_use=spec.bundle.intended_use,
            provenance=spec.bundle.provenance,
            bundle_id=spec.bundle_id,
            experience=spec.experience,
            scope=spec.bundle.scope,
        )

    @abstractmethod
    def run(self, stored: StoredImages) -> dict[str, np.ndarray]:
        """All outputs of the graph by their names."""

    def outputs(self, stored: StoredImages) -> Outputs:
        """What the networks give for images as `store` makes them, stacked."""
        found = self.run(stored)
        distances = None if self.scope is None else found["distances"].astype(np.float64)[np.newaxis]
        return Outputs(found["logits"].astype(np.float64), distances)
