"""Memory: what fits is found before the first step, and a step that does not fit is repeated in smaller parts."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from chiron.classifier import build_network
from chiron.core.errors import EngineError, SpecError
from chiron.core.memory import free_memory, peak_memory
from chiron.engine.checkpoint import Progress
from chiron.engine.compute import ComputeMode
from chiron.engine.failures import is_out_of_memory
from chiron.engine.mixing import cut_in_pairs
from chiron.engine.runtime import Runtime
from chiron.engine.trial import AllocatedMemory, Trial, unchanged_randomness
from chiron.spec.bundle_spec import network_of
from chiron.spec.labels import LabelSpace
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")

LARGEST_BATCH = 256  # of `batch_size: auto`: beyond it, memory is no reason any more
SHARE_OF_FREE = 0.8  # of the memory that is free: an operation takes some for itself, and others work here too
Result = TypeVar("Result")


def in_parts_that_fit(
    compute: Callable[[], Result], model: nn.Module, progress: Progress, *, count: int, alone: bool
) -> Result:
    """The result of `compute`, which reads `progress.micro_batches`; where memory runs out, repeated in more parts.

    The repeated step has the same images, seeds and BatchNorm statistics, so that the run goes on as one that had so
    many parts from its start.

    Args:
        count: images of the step.
        alone: whether no other process waits for this one; else a step is not repeated.
    Raises:
        torch.OutOfMemoryError: or what torch raises, where the parts are pairs already.
    """
    pairs = max(1, count // 2)
    before = Statistics(model) if alone else None
    while True:
        try:
            return compute()
        except (RuntimeError, MemoryError) as error:
            if before is None or not is_out_of_memory(error) or progress.micro_batches >= pairs:
                raise
        progress.micro_batches = min(2 * progress.micro_batches, pairs)  # not in the handler, which holds the tensors
        model.zero_grad(set_to_none=True)
        before.restore()
        _give_back()
        log.warning(
            "memory ran out: from here on a step's images go through the network in %d parts; the step is the same",
            progress.micro_batches,
        )


class Statistics:
    """A copy of what forward passes change in a network: its buffers, BatchNorm statistics above all."""

    def __init__(self, model: nn.Module) -> None:
        self._buffers = list(model.buffers())
        self._values = [buffer.detach().clone() for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        """Puts back what was copied."""
        for buffer, value in zip(self._buffers, self._values, strict=True):
            buffer.copy_(value)


@contextmanager
def unchanged_statistics(model: nn.Module) -> Iterator[None]:
    """For a backward pass that computes the forward pass again, which would count each batch twice."""
    before = Statistics(model)
    yield
    before.restore()


def use_grad_checkpointing(model: nn.Module, name: str) -> None:
    """Lets a network trade a second forward pass for less memory.

    Raises:
        SpecError: it cannot.
    """
    try:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError, NotImplementedError) as error:
        raise SpecError(
            f"train.grad_checkpointing needs a network that can compute parts again. Got {name}, which cannot. "
            "Leave it out; train.grad_accum_steps: auto saves memory with any network."
        ) from error


def fitting_batch_size(recipe: Recipe, labels: LabelSpace, runtime: Runtime, *, num_images: int) -> int:
    """For `batch_size: auto` the largest power of two that fits in memory, at most 256 and `num_images`.

    Raises:
        EngineError: not even two images fit.
    """
    train = recipe.train
    network = build_network(network_of(recipe.model), recipe.input, labels, seed=train.seed).to(runtime.device)
    if train.grad_checkpointing:
        use_grad_checkpointing(network, recipe.model.name)
    sizes = [size for size in (2**k for k in range(1, 20)) if size <= min(LARGEST_BATCH, max(2, num_images))]
    parts = 1 if train.grad_accum_steps == "auto" else train.grad_accum_steps
    own = {size: largest_part(size, parts, runtime.world.size) for size in sizes if size >= 2 * parts}
    fitting = Room(recipe, network, runtime)
    best = 0
    for size, part in own.items():
        if not fitting.has_room_for(part):
            break
        best = size
    return _require_some(best, recipe)


def largest_part(batch: int, parts: int, processes: int) -> int:
    """Images of the largest part that one process has of a batch at once."""
    own = max(part.stop - part.start for part in cut_in_pairs(batch, processes))
    return max(part.stop - part.start for part in cut_in_pairs(own, parts))


def _require_some(best: int, recipe: Recipe) -> int:
    if best:
        return best
    raise EngineError(
        f"A training step of two images must fit in memory. Got {recipe.model.name} at {recipe.input.img_size} px, "
        "which does not. Lower input.img_size, or take a smaller model."
    )


class Room:
    """Whether a training step of so many images fits in memory: tried on a GPU, computed on a CPU."""

    def __init__(self, recipe: Recipe, network: nn.Module, runtime: Runtime) -> None:
        train = recipe.train
        precision = "fp32" if train.precision == "auto" else train.precision  # what takes most
        self.mode = ComputeMode(precision, bool(train.channels_last))
        self.runtime, self.recipe, self.network = runtime, recipe, network
        self._line: tuple[float, float] | None = None  # bytes of a step: fixed, and of each image

    def has_room_for(self, count: int) -> bool:
        """Whether a step of `count` images fits."""
        if self.runtime.device.type == "cuda":
            return self._is_done(count)
        return self._bytes_of(count) <= SHARE_OF_FREE * self._free()

    def _free(self) -> float:
        free = free_memory()
        return float("inf") if free is None else free / self.runtime.world.size  # all processes may be on this machine

    def _is_done(self, count: int) -> bool:
        """Whether a real step is done and leaves some of the GPU's memory free."""
        try:
            self._step(count)
            free, total = torch.cuda.mem_get_info(self.runtime.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            _give_back()
        return free > (1 - SHARE_OF_FREE) / 4 * total

    def _bytes_of(self, count: int) -> float:
        """What a step takes beside the network, on the line through steps of two and of four images."""
        if self._line is None:
            two, four = (self._peak(images) for images in (2, 4))
            slope = max(0.0, (four - two) / 2)
            self._line = (two - 2 * slope, slope)
        return self._line[0] + count * self._line[1]

    def _peak(self, count: int) -> int:
        with AllocatedMemory() as allocated:
            self._step(count)
        return allocated.peak

    def _step(self, count: int) -> None:
        """A step with all that stays after it: the copy stands for the network's own gradients and averages."""
        with unchanged_randomness(self.runtime.device):
            trial = Trial(self.network, self.recipe.train, self.recipe.input, self.mode)
            trial.step(self.mode, trial.inputs(count), self.mode.make_scaler(self.runtime.device))


def first_parts(recipe: Recipe, network: nn.Module, runtime: Runtime) -> int:
    """In how many parts a step's images go through the network: as many as named, or with `auto` as few as fit.

    Raises:
        EngineError: not even two images at once fit.
    """
    train = recipe.train
    if train.grad_accum_steps != "auto":
        return train.grad_accum_steps
    room = Room(recipe, network, runtime)
    parts, largest = 1, largest_part(train.batch_size, 1, runtime.world.size)
    while not room.has_room_for(largest_part(train.batch_size, parts, runtime.world.size)):
        if parts >= max(1, largest // 2):
            _require_some(0, recipe)
        parts *= 2
    parts = int(runtime.world.share(str(parts)))
    log.info("memory: a step's images go through the network in %d part%s", parts, "s" * (parts > 1))
    return parts


def peak_of(device: torch.device) -> int | None:
    """Bytes that the run has had at most, of the GPU's memory or the process's; None where the system does not say."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()


def _give_back() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
