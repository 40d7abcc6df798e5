"""TensorBoard's event files, which `tensorboard --logdir RUN/logs` shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch.utils.tensorboard import SummaryWriter

PACKAGE = "tensorboard"


class TensorBoardLogger:
    """One event file a process; TensorBoard leaves out what an interrupted one said of epochs told again."""

    def __init__(self, folder: Path, *, first_epoch: int, settings: Mapping[str, Any]) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=first_epoch if first_epoch > 1 else None)
        if first_epoch == 1:
            self._writer.add_text("Recipe", f"```\n{yaml.safe_dump(dict(settings), sort_keys=False)}```", 0)

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """One point a curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def histograms(self, epoch: int, values: Mapping[str, np.ndarray]) -> None:
        """Under the tabs Distributions and Histograms."""
        for name, value in values.items():
            self._writer.add_histogram(name, value, epoch)

    def images(self, epoch: int, values: Mapping[str, np.ndarray]) -> None:
        """Under the tab Images, with a slider over epochs."""
        for name, value in values.items():
            self._writer.add_image(name, value, epoch, dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


def open_logger(folder: Path, *, first_epoch: int, settings: Mapping[str, Any]) -> TensorBoardLogger:
    """Writes to `folder`, beside the files of earlier processes."""
    return TensorBoardLogger(folder, first_epoch=first_epoch, settings=settings)
