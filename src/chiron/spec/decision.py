"""Decision: how logits become what is told, and for which unit."""

from typing import Literal

from chiron.spec.frozen import Frozen


class Decision(Frozen):
    """From logits to the class that is named.

    `calibration: none` says that the probabilities are the network's own; a report and a model card print it.
    """

    rule: Literal["argmax"] = "argmax"
    calibration: Literal["none"] = "none"
    unit: Literal["image"] = "image"
