"""The scorer behind a path, on the device and with the threads that a command line's options ask for."""

from pathlib import Path

from chiron.loading import is_exported, load
from chiron.scorer import Scorer


def open_scorer(path: str | Path, *, device: str = "auto", threads: int | None = None) -> Scorer:
    """A bundle, a run folder or an exported form; torch is loaded for the first two alone.

    Raises:
        BundleError: what lies there is missing, damaged, or of a kind that is not loaded.
        SpecError: the device does not exist here, or does not suit.
    """
    if is_exported(path):
        return load(path, device=device, threads=threads)
    from chiron.engine.runtime import start_runtime  # loads torch

    return load(path, device=str(start_runtime(device=device, threads=threads).device))
