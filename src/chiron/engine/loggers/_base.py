"""What every file of engine/loggers must offer: a `PACKAGE` to install, and `open_logger`, which gives a `Logger`.

    PACKAGE = "mlflow"  # what it imports; None or left out where it needs nothing
    INSTALL = "mlflow-skinny"  # what pip installs for that, where the name is another
    def open_logger(folder: Path, *, first_epoch: int, settings: Mapping[str, Any]) -> Logger: ...

`folder` is the logger's own place in the run folder, `first_epoch` the first one (from 1) that will be told, above 1
where a run is resumed: what an earlier process told of it and of later ones must not count twice. `settings` are the
parts of the recipe that name no image and no path.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8


@runtime_checkable
class Logger(Protocol):
    """Takes what is known after each epoch; `epoch` counts from 1."""

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """Numbers by name."""

    def histograms(self, epoch: int, values: Mapping[str, Float[np.ndarray, "_n"]]) -> None:
        """The distribution of many numbers by name."""

    def images(self, epoch: int, values: Mapping[str, UInt8[np.ndarray, "_height _width 3"]]) -> None:
        """RGB pictures by name."""

    def close(self) -> None:
        """Writes what is still to be written; the last call."""
