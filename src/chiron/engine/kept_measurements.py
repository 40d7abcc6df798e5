"""What was measured of a network on this machine, kept in the user's cache so that it is measured once."""

import json
import logging
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chiron.core.errors import OutputError
from chiron.core.files import locked, write_text
from chiron.core.hashing import sha256_json
from chiron.core.user_cache import user_cache
from chiron.engine.compute import ComputeMode
from chiron.engine.runtime import Runtime
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")


@dataclass
class Measured:
    """Seconds of one image by mode, and the modes that are left out with the reason; `changed` since it was read."""

    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    changed: bool = False

    def knows(self, mode: ComputeMode) -> bool:
        """Whether the mode was tried."""
        return str(mode) in self.seconds or str(mode) in self.left_out

    def note(self, mode: ComputeMode, seconds: float) -> None:
        """What one image takes."""
        self.seconds[str(mode)], self.changed = seconds, True

    def leave_out(self, mode: ComputeMode, reason: str) -> None:
        """Why the mode is not used."""
        self.left_out[str(mode)], self.changed = reason, True


def measurement_key(recipe: Recipe, runtime: Runtime, count: int) -> dict[str, Any]:
    """All that a measurement with `count` images at once depends on."""
    train, spec = recipe.train, recipe.input
    return {
        "model": recipe.model.model_dump(mode="json", include={"name", "args", "head", "head_args"}),
        "input": [spec.in_chans, spec.img_size],
        "images": count,
        "train": train.model_dump(mode="json", include={"optimizer", "freeze", "grad_checkpointing", "deterministic"}),
        "device": device_name(runtime.device),
        "threads": torch.get_num_threads(),
        "processes": runtime.world.size,
        "torch": torch.__version__,
    }


def device_name(device: torch.device) -> str:
    """What the device calls itself: the GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{device.type} {names[0] if names else platform.processor() or platform.machine()}"


def place_of_measurements() -> Path:
    """The file; it may be removed at any time."""
    return user_cache() / "compute.json"


def read_measured(key: dict[str, Any]) -> Measured:
    """What is known; nothing where the file is not there or damaged."""
    entry = _read_all().get(sha256_json(key), {})
    try:
        seconds = {str(name): float(value) for name, value in entry["seconds"].items()}
        return Measured(seconds, {str(name): str(reason) for name, reason in entry["left_out"].items()})
    except (KeyError, TypeError, ValueError, AttributeError):
        return Measured()


def keep_measured(key: dict[str, Any], measured: Measured) -> None:
    """Adds to the file; where it cannot be written, the next training measures again, which is told."""
    place = place_of_measurements()
    entry = {"of": key, "seconds": measured.seconds, "left_out": measured.left_out}
    try:
        with locked(place):
            write_text(place, json.dumps(_read_all() | {sha256_json(key): entry}, indent=1))
    except OutputError as error:
        log.warning("warning: the measurement is not kept. %s", error)


def _read_all() -> dict[str, Any]:
    try:
        known = json.loads(place_of_measurements().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
