"""What can go wrong while a network is trained, each told in one sentence."""

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from chiron.core.errors import ChironError, EngineError
from chiron.engine.processes import is_lost_process, lost_process

# What torch makes of an error in a worker: the traceback there, whose last line is the sentence.
_TOLD_BY_A_WORKER = re.compile(r"Caught (\w+) in DataLoader worker process .*^[\w.]*\1: (.*)", re.DOTALL | re.MULTILINE)


def require_finite(value: float, *, what: str, step: int) -> float:
    """The value as it came.

    Args:
        what: "training loss" or "norm of the gradient".

    Raises:
        EngineError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise _exploded(f"The {what} must be finite. Got {value} at step {step}.")
    return value


def require_finite_weights(weights: Mapping[str, Tensor]) -> None:
    """Stops before weights that a gradient has blown up are kept.

    Raises:
        EngineError: a weight is NaN or infinite.
    """
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise _exploded(f"The weights must be finite to be kept. Got NaN or infinity in {name}.")


def _exploded(told: str) -> EngineError:
    return EngineError(f"{told} Lower train.lr, or set train.clip_grad, and train anew; the last checkpoint is intact.")


_MEMORY_TOLD = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")  # of cuBLAS and cuDNN


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says that memory, of the device or the host, does not suffice."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(told in str(error) for told in _MEMORY_TOLD)
    )


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turns the failures that torch reports in its own words into one sentence; see `await_second_report`."""
    try:
        yield
    except ChironError as error:
        if (told := _TOLD_BY_A_WORKER.match(str(error))) is None:
            raise
        raise type(error)(told[2].strip()) from error
    except (ConnectionError, EOFError) as error:  # a worker died while it handed over a batch
        raise _dead_worker(str(error) or type(error).__name__) from error
    except RuntimeError as error:  # torch.OutOfMemoryError is one of them
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        if is_out_of_memory(error):
            raise EngineError(
                f"A training step must fit in memory. Got: {first} Lower train.batch_size or input.img_size; "
                "the last checkpoint is intact."
            ) from error
        if "DataLoader worker" in first:
            raise _dead_worker(first) from error
        if is_lost_process(error):
            raise lost_process(error) from error
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
