"""What loggers are told after every epoch: the row of the history, and with `log_details` what the network does."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from chiron.core.errors import EngineError, SpecError
from chiron.core.registry import leaf_literal, load_leaf
from chiron.engine.log_details import feature_maps, gradients, input_image
from chiron.engine.loggers._base import Logger
from chiron.engine.setup import Setup
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")
LOGGERS = "chiron.engine.loggers"
_NO_CURVE = {"epoch", "seconds", "validation_seconds"}


@dataclass(frozen=True)
class EpochLog:
    """The loggers of a run; none in processes that only help."""

    loggers: dict[str, Logger]

    def tell(self, setup: Setup, network: nn.Module) -> None:
        """Hands over the epoch that stands last in the history; weights and random numbers stay as they are.

        Args:
            network: the one that was validated.

        Raises:
            EngineError: a logger fails.
        """
        row, train = setup.state.progress.history[-1], setup.recipe.train
        epoch, histograms, images = row["epoch"], {}, {}
        if train.loggers and train.log_details:
            histograms, network = gradients(setup.state.model), setup.whole(network).eval()  # with all processes
            if self.loggers:
                images = feature_maps(setup, network)
                if epoch == 1:
                    images |= input_image(setup)
        for name, logger in self.loggers.items():
            try:
                if histograms or images:
                    logger.histograms(epoch, histograms)
                    logger.images(epoch, images)
                logger.scalars(epoch, scalars_of(row))
            except Exception as error:  # whatever another package raises
                raise _broken(name, error) from error


def scalars_of(row: dict[str, Any]) -> dict[str, float]:
    """The history's row under TensorBoard's usual names: Train/Loss, Val/Loss, Val/Accuracy, lr, images_per_second."""
    named = {}
    for key, value in row.items():
        part, _, metric = key.partition("_")
        if value is not None and key not in _NO_CURVE:
            named[f"{part.capitalize()}/{metric.capitalize()}" if part in ("train", "val") else key] = float(value)
    return named


@contextmanager
def open_log(recipe: Recipe, folder: Path | None, *, first_epoch: int) -> Iterator[EpochLog]:
    """The loggers that the recipe names, each with a folder of its own in `folder`; closed at the end.

    Args:
        folder: None in processes that do not write.

    A logger that cannot end is a warning: it hides neither what went wrong before nor a training that is done.

    Raises:
        EngineError: a logger cannot begin.
    """
    opened: dict[str, Logger] = {}
    try:
        if folder is not None:
            for name in recipe.train.loggers:
                opened[name] = _open(name, folder / name, recipe, first_epoch)
        yield EpochLog(opened)
    finally:
        for name, logger in opened.items():
            _close(name, logger)


def _open(name: str, folder: Path, recipe: Recipe, first_epoch: int) -> Logger:
    try:
        leaf = load_leaf(LOGGERS, name, kind="logger")
        return leaf.open_logger(folder, first_epoch=first_epoch, settings=_settings(recipe))
    except Exception as error:  # whatever another package raises
        raise _broken(name, error) from error


def _close(name: str, logger: Logger) -> None:
    try:
        logger.close()
    except Exception as error:  # whatever another package raises
        log.warning("warning: %s", _broken(name, error))


def require_loggers(names: tuple[str, ...]) -> None:
    """Stops where a logger's package is not installed.

    Raises:
        SpecError: with the command that installs it.
    """
    for name in names:
        package = leaf_literal(LOGGERS, name, "PACKAGE")
        if package is not None and find_spec(package) is None:
            install = leaf_literal(LOGGERS, name, "INSTALL") or package
            raise SpecError(
                f"train.loggers {name} needs the package {package}. Got none here. Run `pip install {install}`."
            )


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What may leave the machine: no path, no name of an image."""
    settings = recipe.model_dump(mode="json", include={"model", "input", "augment", "train"})
    del settings["model"]["weights"]
    return settings


def _broken(name: str, error: Exception) -> EngineError:
    told = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return EngineError(
        f"The logger {name} must be able to write. Got {told}. Mend it and continue with --resume, or train anew "
        "with train.loggers=[]."
    )
