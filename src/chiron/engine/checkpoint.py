"""Checkpoints for resuming: one folder a step with safetensors + JSON, written under a temporary name, then renamed."""

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.optim import Optimizer

from chiron.core.errors import EngineError
from chiron.core.files import new_folder
from chiron.engine.ema import WeightAverage

KEEP = 2  # the newest and the one before it
_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


@dataclass
class Progress:
    """Where a run stands; everything besides tensors that resuming needs."""

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    images_in_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    epochs_without_better: int = 0
    finished: bool = False
    setting: dict[str, Any] = field(default_factory=dict)  # what byte-equal resuming depends on
    recipe: str = ""  # digest: a checkpoint belongs to one recipe
    data: str = ""  # and to one manifest
    ema_updates: int = 0
    weights: dict[str, Any] | None = (
        None  # where the first weights came from, a WeightsOrigin; None where all are drawn
    )

    def begin_next_epoch(self) -> None:
        """Closes the epoch: what is counted within one starts anew."""
        self.epoch += 1
        self.step_in_epoch, self.loss_sum, self.images_in_epoch = 0, 0.0, 0


@dataclass
class TrainingState:
    """Everything that changes while a network is trained, and so everything that a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None = None
    best: dict[str, Tensor] | None = None
    progress: Progress = field(default_factory=Progress)


class Checkpoints:
    """Where and how often the state of a run is kept; without a folder it never is."""

    def __init__(self, folder: Path | None, *, minutes: float) -> None:
        self.folder, self.minutes = folder, minutes
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last one is older than `minutes`."""
        return time.monotonic() - self._saved_at > self.minutes * 60

    def save(self, state: TrainingState) -> None:
        """Keeps `state`.

        Raises:
            OutputError: the disk is full; the checkpoints before stay as they are.
        """
        if self.folder is not None:
            save_checkpoint(self.folder, state)
        self._saved_at = time.monotonic()


def save_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Writes `folder/step-<epoch>-<step>` and removes older ones but the last.

    Raises:
        OutputError: the disk is full; the checkpoints before stay as they are.
    """
    model_state, optimizer_state = get_state_dict(state.model, state.optimizer, options=_FULL)
    tensors: dict[str, Any] = {f"model.{name}": tensor for name, tensor in model_state.items()}
    values: dict[str, Any] = {"param_groups": optimizer_state["param_groups"], "state": {}}
    per_parameter: dict[str, dict[str, Any]] = optimizer_state["state"]  # type: ignore[assignment]
    for parameter, entries in per_parameter.items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optim.{parameter}/{key}"] = value
            else:
                values["state"].setdefault(parameter, {})[key] = value
    if state.average is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in state.average.network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in (state.best or {}).items()}
    target = folder / f"step-{state.progress.epoch:05d}-{state.progress.step_in_epoch:07d}"
    with new_folder(target) as temporary:
        # clone: safetensors refuses tensors that share memory
        data = serialize({name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()})
        (temporary / "state.safetensors").write_bytes(data)
        (temporary / "state.json").write_text(json.dumps({"progress": asdict(state.progress), "optimizer": values}))
    for old in list_checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first; temporary folders of a killed run are not among them."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").is_file())


def load_checkpoint(path: Path, state: TrainingState) -> None:
    """Restores `state` in place.

    Raises:
        EngineError: the checkpoint is damaged, of another model, or of another version of Chiron.
    """
    try:
        stored = json.loads((path / "state.json").read_text())
        tensors = load_file(path / "state.safetensors")
        optimizer_state: dict[str, Any] = {"param_groups": stored["optimizer"]["param_groups"], "state": {}}
        for parameter, values in stored["optimizer"]["state"].items():
            optimizer_state["state"].setdefault(parameter, {}).update(values)
        for name, tensor in _part(tensors, "optim.").items():
            parameter, key = name.rsplit("/", 1)
            optimizer_state["state"].setdefault(parameter, {})[key] = tensor
        set_state_dict(
            state.model,
            state.optimizer,
            model_state_dict=dict(_part(tensors, "model.")),
            optim_state_dict=optimizer_state,
            options=_FULL,
        )
        if state.average is not None:
            state.average.network.load_state_dict(_part(tensors, "ema."))
        state.progress = Progress(**stored["progress"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise EngineError(
            f"A checkpoint must fit the run's recipe and be whole. Got {error} at {path}. "
            "Remove this folder to resume from the one before."
        ) from error
    state.best = _part(tensors, "best.") or None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights on the CPU that later steps cannot change."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def resume_setting(num_threads: int, precision: str, device: torch.device) -> dict[str, Any]:
    """What weights depend on besides recipe and data: kept in the checkpoint, compared on resume."""
    return {
        "torch": torch.__version__,
        "threads": num_threads,
        "precision": precision,
        "device": device.type,
        "processes": 1,
    }


def stored_threads(folder: Path) -> int | None:
    """The number of threads of the run whose checkpoints lie in `folder`; None when there is none."""
    found = list_checkpoints(folder)
    if not found:
        return None
    return json.loads((found[-1] / "state.json").read_text())["progress"]["setting"].get("threads")
