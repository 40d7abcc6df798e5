"""Weights & Biases; with WANDB_MODE=offline in the run folder alone, until `wandb sync` sends it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import wandb

from chiron.core.files import write_text

PACKAGE = "wandb"


class WandbLogger:
    """One wandb run for the whole training, also when it is resumed."""

    def __init__(self, folder: Path, *, settings: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._kept = folder / "told.json"
        told: dict[str, Any] = {"id": uuid4().hex[:12], "epoch": 0}
        if self._kept.is_file():
            told = json.loads(self._kept.read_text())
        self._id = told["id"]
        self._note(told["epoch"])
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "chiron"),
            name=folder.parent.parent.name,
            id=self._id,
            resume="allow",
            dir=str(folder),
            config=dict(settings),
            # Neither the terminal's text nor code nor the names of machine and repository are sent.
            settings=wandb.Settings(console="off", disable_git=True, save_code=False, x_disable_meta=True, silent=True),
        )

    def _note(self, epoch: int) -> None:
        self._told = epoch
        write_text(self._kept, json.dumps({"id": self._id, "epoch": epoch}))

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """Curves, whose step is the epoch; the last call of an epoch."""
        if epoch > self._told:
            self._run.log(dict(values), step=epoch)
            self._note(epoch)

    def histograms(self, epoch: int, values: Mapping[str, np.ndarray]) -> None:
        """Distributions."""
        if epoch > self._told:
            finite = {name: value[np.isfinite(value)] for name, value in values.items()}
            self._run.log({name: wandb.Histogram(value) for name, value in finite.items()}, step=epoch)

    def images(self, epoch: int, values: Mapping[str, np.ndarray]) -> None:
        """Pictures with a slider over epochs."""
        if epoch > self._told:
            self._run.log({name: wandb.Image(value) for name, value in values.items()}, step=epoch)

    def close(self) -> None:
        """Waits until everything is written or sent."""
        self._run.finish()


def open_logger(folder: Path, *, first_epoch: int, settings: Mapping[str, Any]) -> WandbLogger:
    """The wandb run of this training; what it was told already it is not told again."""
    return WandbLogger(folder, settings=settings)
