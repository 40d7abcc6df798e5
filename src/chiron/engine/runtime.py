"""Devices, precision, threads and processes; the only file of the engine that knows them."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from chiron.core.errors import EngineError, SpecError
from chiron.core.hashing import seed_of

log = logging.getLogger("chiron.train")


@dataclass(frozen=True)
class Runtime:
    """Where and how a run computes."""

    device: torch.device
    precision: str = "fp32"
    num_workers: int = 0

    def autocast(self) -> AbstractContextManager:
        """The precision of training steps; everything that is kept is computed outside of it."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def loader(self, dataset: Dataset, *, batches: Sampler | None = None, batch_size: int = 32) -> DataLoader:
        """A loader over ready-made batches, or in order with `batch_size`; workers start with `spawn`."""
        options: dict = {"num_workers": self.num_workers, "pin_memory": self.device.type == "cuda"}
        if self.num_workers:
            options |= {"multiprocessing_context": "spawn", "persistent_workers": True, "worker_init_fn": _start_worker}
        if batches is not None:
            return DataLoader(dataset, batch_sampler=batches, **options)
        return DataLoader(dataset, batch_size=batch_size, **options)


def _start_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends the workers
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


class Interruption:
    """Turns Ctrl-C and SIGTERM into a wish that the loop obeys between two steps, where a checkpoint is exact.

    A second Ctrl-C stops at once.
    """

    def __init__(self, *, resumable: bool = True) -> None:
        self.wanted, self.resumable = False, resumable
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop_if_wanted(self) -> None:
        """Ends the loop; call it right after a checkpoint was written.

        Raises:
            KeyboardInterrupt: somebody asked to stop.
        """
        if self.wanted:
            log.warning("stopped: checkpoint written; continue with --resume" if self.resumable else "stopped")
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        log.warning("stopping after this step; press Ctrl-C again to stop at once")


def start_runtime(
    *, device: str = "auto", precision: str = "fp32", num_workers: int | str = 0, threads: int | None = None
) -> Runtime:
    """The runtime that the options ask for.

    Raises:
        SpecError: the device does not exist here.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise SpecError(f"The device must exist here. Got {device!r}. Use --device cpu.") from error
    if num_workers == "auto":
        # On the CPU the network takes every core; a GPU waits for images.
        num_workers = 0 if chosen.type == "cpu" else min(8, max(1, (os.cpu_count() or 2) - 1))
    return Runtime(chosen, precision, int(num_workers))


def seed_step(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Fixes the randomness of one step (dropout, drop path) as a function of its name."""
    torch.manual_seed(seed_of("step", seed, epoch, step, rank))


def require_finite(loss: torch.Tensor, *, step: int) -> float:
    """The loss as a number.

    Raises:
        EngineError: it is NaN or infinite.
    """
    value = float(loss.detach())
    if value != value or value in (float("inf"), float("-inf")):
        raise EngineError(
            f"The training loss must be finite. Got {value} at step {step}. "
            "Lower train.lr, or set train.clip_grad; the last checkpoint is intact."
        )
    return value


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turns the failures that torch reports in its own words into one sentence; see `await_second_report`."""
    try:
        yield
    except (ConnectionError, EOFError) as error:  # a worker died while it handed over a batch
        raise _dead_worker(str(error) or type(error).__name__) from error
    except RuntimeError as error:  # torch.OutOfMemoryError is one of them
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in first:
            raise EngineError(
                f"A training step must fit in memory. Got: {first} Lower train.batch_size or input.img_size; "
                "the last checkpoint is intact."
            ) from error
        if "DataLoader worker" in first:
            raise _dead_worker(first) from error
        raise


def await_second_report() -> None:
    """To be called where a broken connection to a worker was caught, inside of `clear_failures`.

    torch tells of the worker's death a moment later, by a signal that raises RuntimeError wherever we are by then.
    """
    time.sleep(1)


def _dead_worker(told: str) -> EngineError:
    return EngineError(
        f"The processes that decode images must live. Got: {told.rstrip('. ')}. "
        "Lower train.num_workers, then continue with --resume; the last checkpoint is intact."
    )
