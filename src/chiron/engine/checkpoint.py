"""Checkpoints for resuming: one folder a step with safetensors + JSON, written under a temporary name, then renamed."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torch.optim import Optimizer

from chiron.core.errors import EngineError
from chiron.core.files import new_folder, remove_folder, remove_leftovers
from chiron.engine.ema import WeightAverage
from chiron.engine.failures import require_finite_weights
from chiron.engine.sharding import is_sharded, load_weights, part_like, whole_tensor
from chiron.spec.train_recipe import TrainRecipe

KEEP = 2  # the newest and the one before it


@dataclass
class Progress:
    """Where a run stands; everything besides tensors that resuming needs."""

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    images_in_epoch: int = 0
    right_sum: float = 0.0  # of the epoch's images that were not mixed with others, ...
    images_judged: int = 0  # ... which are so many
    auxiliary_sums: dict[str, float] = field(default_factory=dict)  # of the epoch's images, as loss_sum
    seconds_in_epoch: float = 0.0  # of all processes that worked on it, one after the other
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    epochs_without_better: int = 0
    stop_value: float | None = None  # the one that early stopping compares with
    rate_factor: float = 1.0  # what a plateau has made of the learning rate
    plateau_value: float | None = None
    plateau_epochs: int = 0
    micro_batches: int = 1  # parts that a step's images go through the network in
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16
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
        self.step_in_epoch, self.loss_sum, self.images_in_epoch, self.seconds_in_epoch = 0, 0.0, 0, 0.0
        self.auxiliary_sums, self.right_sum, self.images_judged = {}, 0.0, 0

    def note_right(self, num_right: float, num_images: int) -> None:
        """Adds the images of a step that are called right; NaN of mixed ones, which are left out."""
        if not math.isnan(num_right):
            self.right_sum += num_right
            self.images_judged += num_images

    def note_auxiliary(self, means: dict[str, float], num_images: int) -> None:
        """Adds the auxiliary losses of a step."""
        for kind, mean in means.items():
            self.auxiliary_sums[kind] = self.auxiliary_sums.get(kind, 0.0) + mean * num_images


@dataclass
class TrainingState:
    """Everything that changes while a network is trained, and so everything that a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None = None
    best: dict[str, Tensor] | None = None
    progress: Progress = field(default_factory=Progress)


class Checkpoints:
    """Where and how often the state of a run is kept; without a folder it never is."""

    def __init__(self, folder: Path | None, train: TrainRecipe) -> None:
        self.folder, self.train = folder, train
        self._saved_at = time.monotonic()

    def is_due(self, progress: Progress) -> bool:
        """Whether the last one is older than the recipe's minutes, or its steps are over."""
        steps = self.train.checkpoint_steps
        by_steps = steps is not None and progress.step_in_epoch % steps == 0
        return by_steps or time.monotonic() - self._saved_at > self.train.checkpoint_minutes * 60

    def save(self, state: TrainingState) -> None:
        """Keeps `state`.

        Raises:
            EngineError: a weight is not finite.
            OutputError: the disk is full; the checkpoints before stay as they are.
        """
        if self.folder is not None:
            save_checkpoint(self.folder, state, keep_every_epochs=self.train.keep_every_epochs)
        elif is_sharded(state.model):
            _gather(state)  # takes part in what the main process writes
        self._saved_at = time.monotonic()


def save_checkpoint(folder: Path, state: TrainingState, *, keep_every_epochs: int | None = None) -> Path:
    """Writes `folder/step-<epoch>-<step>` and removes older ones but the last, and those of every so many epochs.

    Raises:
        EngineError: a weight is not finite; nothing is written, for a run could not go on from it.
        OutputError: the disk is full; the checkpoints before stay as they are.
    """
    tensors, values = _gather(state)
    require_finite_weights(_part(tensors, "model."))
    state.progress.scaler = state.scaler.state_dict()
    target = folder / f"step-{state.progress.epoch:05d}-{state.progress.step_in_epoch:07d}"
    with new_folder(target) as temporary:
        # clone: safetensors refuses tensors that share memory
        data = serialize({name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()})
        (temporary / "state.safetensors").write_bytes(data)
        (temporary / "state.json").write_text(json.dumps({"progress": asdict(state.progress), "optimizer": values}))
    for old in list_checkpoints(folder)[:-KEEP]:
        _, epoch, step = old.name.split("-")
        if keep_every_epochs is None or int(step) or int(epoch) % keep_every_epochs:
            remove_folder(old)
    remove_leftovers(folder)
    return target


def _gather(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of the state, whole, and the optimizer's plain values."""
    tensors: dict[str, Tensor] = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    values: dict[str, Any] = {"groups": _group_values(state.optimizer), "state": {}}
    for number, group in enumerate(state.optimizer.param_groups):  # timm's lamb counts its steps there, in a tensor
        tensors |= {f"group.{number}/{key}": value for key, value in group.items() if isinstance(value, Tensor)}
    for parameter, key, value in _optimizer_entries(state):
        if isinstance(value, Tensor):
            tensors[f"optim.{parameter}/{key}"] = value
        else:
            values["state"].setdefault(parameter, {})[key] = value
    if state.average is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in state.average.network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in (state.best or {}).items()}
    return {name: whole_tensor(tensor) for name, tensor in tensors.items()}, values


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
        entries: dict[str, dict[str, Any]] = stored["optimizer"]["state"]
        for name, tensor in _part(tensors, "optim.").items():
            parameter, key = name.rsplit("/", 1)
            entries.setdefault(parameter, {})[key] = tensor
        for name, tensor in _part(tensors, "group.").items():
            number, key = name.split("/", 1)
            stored["optimizer"]["groups"][int(number)][key] = tensor
        load_weights(state.model, _part(tensors, "model."))
        _restore_optimizer(state, stored["optimizer"]["groups"], entries)
        if state.average is not None:
            load_weights(state.average.network, _part(tensors, "ema."))
        state.progress = Progress(**stored["progress"])
        if state.progress.scaler:
            state.scaler.load_state_dict(state.progress.scaler)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise _does_not_fit(path, error) from error
    state.best = _part(tensors, "best.") or None


def _does_not_fit(path: Path, error: Exception) -> EngineError:
    return EngineError(
        f"A checkpoint must fit the run's recipe and be whole. Got {error} at {path}. "
        "Remove this folder to resume from the one before."
    )


def _optimizer_entries(state: TrainingState) -> Iterator[tuple[str, str, Any]]:
    """What the optimizer keeps: name of the parameter, key, value. A frozen parameter has nothing yet.

    Not by torch.distributed.checkpoint.state_dict: it wants the state of every parameter, which it makes by a step.
    """
    for name, parameter in state.model.named_parameters():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            yield name, key, value


def _group_values(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The plain values of each group: some optimizers count there."""
    return [
        {key: value for key, value in group.items() if isinstance(value, int | float | str | None)}
        for group in optimizer.param_groups
    ]


def _restore_optimizer(state: TrainingState, groups: list[dict[str, Any]], entries: dict[str, dict[str, Any]]) -> None:
    for group, values in zip(state.optimizer.param_groups, groups, strict=True):
        group.update(values)
    group_of = {parameter: group for group in state.optimizer.param_groups for parameter in group["params"]}
    parameters = dict(state.model.named_parameters())
    state.optimizer.state.clear()
    for name, values in entries.items():
        parameter = parameters[name]
        state.optimizer.state[parameter] = {
            key: _as_kept(key, value, parameter, group_of[parameter]) if isinstance(value, Tensor) else value
            for key, value in values.items()
        }


def _as_kept(key: str, value: Tensor, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
    """A tensor of the optimizer where torch keeps it, in the parameter's memory layout, on which fused steps rely."""
    if key == "step" and not group.get("fused") and not group.get("capturable"):
        return value  # counts of steps stay on the CPU, but for kernels that read them on the device
    value = part_like(value, parameter)
    if type(value) is not Tensor or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights on the CPU that later steps cannot change."""
    return {name: whole_tensor(tensor).detach().cpu().clone() for name, tensor in model.state_dict().items()}


def resume_setting(
    num_threads: int, mode: str, device: torch.device, processes: int, *, augments_batches: bool
) -> dict[str, Any]:
    """What weights depend on besides recipe and data: kept in the checkpoint, compared on resume."""
    return {
        "torch": torch.__version__,
        "threads": num_threads,
        "precision": mode,
        "device": device.type,
        "processes": processes,
        "augmented": "in batches" if augments_batches else "one by one",
    }


def stored_setting(folder: Path) -> dict[str, Any]:
    """What the weights of the run whose checkpoints lie in `folder` depend on; empty when there is none.

    Raises:
        EngineError: the newest checkpoint is damaged.
    """
    found = list_checkpoints(folder)
    if not found:
        return {}
    try:
        return dict(json.loads((found[-1] / "state.json").read_text())["progress"]["setting"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _does_not_fit(found[-1], error) from error
