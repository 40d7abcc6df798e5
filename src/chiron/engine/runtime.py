"""Devices, threads, loaders and processes; the only file of the engine that chooses them."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from chiron.core.errors import SpecError
from chiron.core.hashing import seed_of
from chiron.core.job import job_size
from chiron.engine.processes import World, join_world, local_rank


@dataclass(frozen=True)
class Runtime:
    """Where a run computes, and with whom."""

    device: torch.device
    num_workers: int = 0
    world: World = field(default_factory=World)
    deterministic: bool = True

    @contextmanager
    def step_arithmetic(self) -> Iterator[None]:
        """For training steps: on a GPU, where two runs may differ, fp32 products are rounded as TF32; scores never."""
        rounds = self.device.type == "cuda" and not self.deterministic
        if rounds:
            _allow_tf32(True)
        try:
            yield
        finally:
            if rounds:
                _allow_tf32(False)

    def forget_memory_peak(self) -> None:
        """From here on counts the most memory that a GPU gives: what was tried before the run is no part of it."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def synchronize(self) -> None:
        """Returns when the device has done all that it was given."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    @property
    def augments_batches(self) -> bool:
        """Whether training images are augmented a batch at once, on the device; pixels differ by rounding."""
        return self.device.type == "cuda"

    def loader(
        self,
        dataset: Dataset,
        *,
        batches: Sampler | None = None,
        batch_size: int = 32,
        collate: Callable | None = None,
    ) -> DataLoader:
        """A loader over ready-made batches, or in order with `batch_size`; workers start with `spawn`."""
        options: dict = {
            "num_workers": self.num_workers,
            "pin_memory": self.device.type == "cuda",
            "collate_fn": collate,
        }
        if self.num_workers:
            options |= {"multiprocessing_context": "spawn", "persistent_workers": True, "worker_init_fn": _start_worker}
        if batches is not None:
            return DataLoader(dataset, batch_sampler=batches, **options)
        return DataLoader(dataset, batch_size=batch_size, **options)

    def alone(self) -> "Runtime":
        """The same place without the other processes, for what one of them does by itself."""
        return replace(self, world=World())


def _start_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends the workers
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def start_runtime(
    *, device: str = "auto", num_workers: int | str = 0, threads: int | None = None, deterministic: bool = True
) -> Runtime:
    """The runtime that the options ask for.

    Raises:
        SpecError: the device does not exist here.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = best_device()
    if device == "cuda" and job_size() > 1:
        device = f"cuda:{local_rank()}"
    elif device.startswith("cuda:") and job_size() > 1:
        raise SpecError(
            f"Under torchrun each process takes the GPU of its own number. Got --device {device}. Leave it out, and "
            "choose GPUs by the environment variable CUDA_VISIBLE_DEVICES."
        )
    if device.startswith("cuda"):
        _set_up_cuda(deterministic=deterministic)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
    except (RuntimeError, AssertionError) as error:
        hint = "Start as many processes as there are GPUs" if job_size() > 1 else "Use --device cpu"
        raise SpecError(f"The device must exist here. Got {device!r}. {hint}.") from error
    world = join_world(chosen)
    if num_workers == "auto":
        # On the CPU the network takes every core; a GPU waits for images.
        cores = (os.cpu_count() or 2) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of this process
        num_workers = 0 if chosen.type == "cpu" else min(8, max(1, cores - 1))
    return Runtime(chosen, int(num_workers), world, deterministic)


def best_device() -> str:
    """What `--device auto` stands for: an NVIDIA or AMD GPU, Apple's, or the processor."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _set_up_cuda(*, deterministic: bool) -> None:
    """Two equal runs give equal weights, or may differ and are faster. An operation that cannot be equal warns."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS at its first call
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    _allow_tf32(False)  # torch's own default rounds convolutions; kept numbers are fp32


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def seed_step(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Fixes the randomness of one step (dropout, drop path) as a function of its name."""
    torch.manual_seed(seed_of("step", seed, epoch, step, rank))
