"""The processes that train one network together, started by `torchrun`; alone, a world of one.

Nothing else in Chiron calls torch.distributed. Only tensors travel between processes, never pickles. On the CPU they
travel by gloo, on GPUs by NCCL.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from chiron.core.errors import EXIT_COULD_NOT_FINISH, ChironError, FailedElsewhereError, LostProcessError
from chiron.core.job import job_rank, job_size
from chiron.engine.sharding import exchange_gradients, is_sharded

T = TypeVar("T")
_STEP_TIMEOUT = timedelta(minutes=30)  # a process that died is noticed at once, one that hangs after this time
_WORK_TIMEOUT = timedelta(days=2)  # while one process reads a large data set, the others wait


@dataclass(frozen=True)
class World:
    """How many processes work together, and which one this is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    patient: Any = None  # the process group of those who wait for one that works alone

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes and talks."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place.

        Raises:
            LostProcessError: another process has ended.
        """
        if self.size > 1:
            with lost_processes_told():
                distributed.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the same answer in all."""
        return bool(self.sum(torch.tensor(float(flag))) > 0) if self.size > 1 else flag

    def share(self, text: str) -> str:
        """What the main process says, in all processes."""
        if self.size == 1:
            return text
        told = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = torch.tensor([len(told)])
        with lost_processes_told():
            distributed.broadcast(length, src=0, group=self.patient)
            told.resize_(int(length))
            distributed.broadcast(told, src=0, group=self.patient)
        return bytes(told.tolist()).decode()

    def of_main(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """The numbers that the main process has, so that all decide alike; the keys are the same in all."""
        if self.size == 1:
            return dict(values)
        told = torch.tensor([float("nan") if value is None else value for value in values.values()]).double()
        with lost_processes_told():
            distributed.broadcast(told, src=0)
        return {key: None if value != value else value for key, value in zip(values, told.tolist(), strict=True)}

    def by_main(self, work: Callable[[], T]) -> T | None:
        """What `work` gives in the main process; None in the others, which wait until it is done.

        Raises:
            FailedElsewhereError: in the others, with the exit code of the main one, which tells why.
        """
        if self.size == 1:
            return work()
        result, code = None, torch.full((1,), float(EXIT_COULD_NOT_FINISH))
        try:
            if self.is_main:
                result = work()
            code.zero_()
        except ChironError as error:
            code.fill_(error.exit_code)
            raise
        finally:
            with lost_processes_told():
                distributed.broadcast(code, src=0, group=self.patient)
        if code.item():
            raise FailedElsewhereError(int(code.item()))
        return result

    def main_first(self, work: Callable[[], T]) -> T:
        """What `work` gives in each process; the others begin when the main one is done, and find what it left."""
        result = self.by_main(work)
        return result if self.is_main else work()  # type: ignore[return-value]

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are the mean over all processes; alone, or sharded, the model itself."""
        if self.size == 1 or is_sharded(model):
            return model
        devices = [self.local_rank] if _on_gpu(model) else None
        return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model with BatchNorm over the images of all processes, where it has any and computes on GPUs.

        torch has none for the CPU: there each process normalizes by its own images, and the statistics that are kept
        are those of the main process.
        """
        norms = any(isinstance(layer, _BatchNorm) for layer in model.modules())
        return convert_sync_batchnorm(model) if self.size > 1 and norms and _on_gpu(model) else model

    def each_part(self, model: nn.Module, parts: list[slice]) -> Iterator[slice]:
        """The parts of a batch one by one; processes exchange gradients once, with the last one."""
        for place, part in enumerate(parts):
            if isinstance(model, DistributedDataParallel):
                model.require_backward_grad_sync = place == len(parts) - 1  # what its no_sync() sets
            elif self.size > 1:
                exchange_gradients(model, place == len(parts) - 1)
            yield part

    def share_buffers(self, model: nn.Module) -> None:
        """Gives the buffers of the main process (statistics of BatchNorm) to all, which then score alike."""
        if self.size > 1:
            with lost_processes_told():
                for buffer in model.buffers():
                    distributed.broadcast(buffer, src=0)


def _on_gpu(model: nn.Module) -> bool:
    return next(model.parameters()).is_cuda


def join_world(device: torch.device) -> World:
    """The world that `torchrun` has started this process in, joined."""
    if job_size() == 1:
        return World()
    if not distributed.is_initialized():
        with lost_processes_told():
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_STEP_TIMEOUT
            )
    return World(job_rank(), job_size(), local_rank(), _patient_group())


def local_rank() -> int:
    """The number of this process among those on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@cache
def _patient_group() -> Any:
    return distributed.new_group(backend="gloo", timeout=_WORK_TIMEOUT)


def is_lost_process(error: BaseException) -> bool:
    """Whether torch says that another process of the job does not answer."""
    told = str(error)
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(name in told for name in ("gloo", "Gloo", "NCCL", "closed by peer"))
    )


def lost_process(error: BaseException) -> LostProcessError:
    """The one sentence for it."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return LostProcessError(
        f"All processes of a job must live until its end. Got one that ended early ({first.split(']: ')[-1][:120]}). "
        "See what it wrote above, or whether memory ran out; continue a training with --resume: its last checkpoint is "
        "intact."
    )


@contextmanager
def lost_processes_told() -> Iterator[None]:
    """Turns what torch says of another process that has ended into one sentence."""
    try:
        yield
    except RuntimeError as error:
        if is_lost_process(error):
            raise lost_process(error) from error
        raise
