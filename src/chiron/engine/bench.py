"""Where the time of training goes: the loop's own loader, step and network, with a stopwatch beside them."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiron.data.dataset import to_tensor
from chiron.engine.loading import TrainingLoader
from chiron.engine.memory import peak_of
from chiron.engine.setup import Setup
from chiron.engine.step import take_step

PARTS = ("copy", "forward", "backward", "optimizer")
_WARMUP_STEPS = 3  # the first steps choose kernels, compile, and fill the allocator


@dataclass(frozen=True)
class Spread:
    """The middle of repeated measurements, and the quarter below and above which the others lie."""

    median: float
    low_quartile: float
    high_quartile: float

    @classmethod
    def of(cls, values: Float[np.ndarray, "n"]) -> "Spread":
        """The spread of `values`, at least one."""
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        return cls(float(middle), float(low), float(high))


@dataclass(frozen=True)
class Measured:
    """What was measured; all times in seconds."""

    decode: Spread  # an image, from its file
    read: Spread  # an image, as the loop gets it: from the cache, where there is one
    warp: Spread  # an image
    parts: dict[str, Spread]  # a step on a batch that is in memory
    step: Spread  # of these steps the whole
    waiting: Spread  # before a step, of steps with the loader
    loaded_step: Spread  # of these steps the whole, with the waiting
    images_per_second: float  # over all steps with the loader
    compute_images_per_second: float  # over all steps on a batch in memory
    waiting_share: float  # of the time of all steps with the loader
    score: Spread  # an image of val, in fp32
    memory_peak_bytes: int | None  # None where the system does not tell


def warmup_steps(num_workers: int) -> int:
    """Steps before the measurement: also those for which workers have prepared batches ahead."""
    return _WARMUP_STEPS + 2 * num_workers  # torch's prefetch_factor


def measure_training(setup: Setup, *, num_steps: int) -> Measured:
    """Times `num_steps` steps with the loader, and as many on one batch in memory.

    All is as in the last epoch: what is frozen or mixed for a while no longer, or by now. Before a device is asked for
    the time it has finished its work, so that each part has its own.

    Raises:
        EngineError: memory runs out.
    """
    setup.state.progress.epoch = setup.recipe.train.epochs - 1
    setup.begin_epoch()
    _reset_peak_memory(setup.runtime.device)
    decode, read, warp = _time_images(setup, num_images=max(8, num_steps))
    memory = _MemorySteps(setup)
    waiting, loaded, num_images = _time_loaded_steps(setup, memory, num_steps)
    parts = memory.parts(num_steps)
    peak = peak_of(setup.runtime.device)
    whole = np.sum(list(parts.values()), axis=0)
    return Measured(
        decode=Spread.of(decode),
        read=Spread.of(read),
        warp=Spread.of(warp),
        parts={name: Spread.of(values) for name, values in parts.items()},
        step=Spread.of(whole),
        waiting=Spread.of(waiting),
        loaded_step=Spread.of(loaded),
        images_per_second=num_images / float(loaded.sum()),
        compute_images_per_second=num_steps * len(memory.index) / float(whole.sum()),
        waiting_share=_waiting_share(setup, waiting, loaded, num_images * whole.sum() / num_steps / len(memory.index)),
        score=_time_scoring(setup, num_steps),
        memory_peak_bytes=peak,
    )


def _time_images(setup: Setup, num_images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds to decode, to read as training does, and to warp, of images of the first batches."""
    images = setup.images
    keys = [key for number in range(setup.batches.num_batches) for key in setup.batches.keys_of(number)]
    rows = []
    for key in [keys[0], *keys[:num_images]]:  # the first opens files
        begin = time.perf_counter()
        images.source.stored(images.paths[key.index], images.spec)
        decoded = time.perf_counter()
        stored = images.stored(key.index)
        read = time.perf_counter()
        images.augmented(key, stored)
        rows.append((decoded - begin, read - decoded, time.perf_counter() - read))
    decode, read_again, warp = np.array(rows[1:]).T
    return decode, read_again, warp


def _time_loaded_steps(setup: Setup, memory: "_MemorySteps", num_steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Seconds of waiting and of the whole of each step with the loader, and the number of images in them.

    On a CPU without workers a step in memory follows each, so that a busy machine slows down both alike; workers would
    use the time to prepare images, so that with them all steps in memory come last. Of a GPU only the sum over all
    steps is true, because it works on while the next one is prepared.
    """
    waiting, whole, num_images = [], [], 0
    batches, on_cpu = _endless(setup), setup.runtime.device.type == "cpu"
    warmup = warmup_steps(setup.runtime.num_workers)
    interleaved = on_cpu and not setup.runtime.num_workers
    for number in range(warmup + num_steps):
        if number == warmup:
            setup.runtime.synchronize()
        begin = time.perf_counter()  # a GPU goes on while the next batch is fetched, as in training
        pixels, index = next(batches)
        fetched = time.perf_counter()
        _step(setup, pixels, index)
        if number == warmup + num_steps - 1:
            setup.runtime.synchronize()
        if number >= warmup:
            waiting.append(fetched - begin)
            whole.append(time.perf_counter() - begin)
            num_images += len(index)
        if interleaved:
            memory.step()
    batches.close()
    while not interleaved and len(memory.rows) < _WARMUP_STEPS + num_steps:
        memory.step()
    return np.array(waiting), np.array(whole), num_images


def _waiting_share(setup: Setup, waiting: np.ndarray, loaded: np.ndarray, computing: float) -> float:
    """The part of the time in which nothing was computed; of a GPU what is left beside so many seconds of computing."""
    if setup.runtime.device.type == "cpu":
        return float(waiting.sum() / loaded.sum())
    return max(0.0, 1 - computing / float(loaded.sum()))


def _endless(setup: Setup) -> Generator[tuple[Tensor, Tensor]]:
    """The epoch's batches from the run's own loader, again and again."""
    loader = TrainingLoader(setup.images, setup.batches, setup.runtime)
    while True:
        setup.state.progress.step_in_epoch = 0
        setup.begin_epoch()
        for pixels, index in loader:
            yield pixels, index
            setup.state.progress.step_in_epoch += 1


class _MemorySteps:
    """Steps on one batch that waits in memory as the loader would hand it over, and the seconds of their parts."""

    def __init__(self, setup: Setup) -> None:
        items = [setup.images[key] for key in setup.batches.keys_of(0)]
        pixels = torch.stack([pixels for pixels, _ in items])
        self.pixels = pixels.pin_memory() if setup.runtime.device.type == "cuda" else pixels
        self.index = torch.tensor([index for _, index in items])
        self.setup, self.rows = setup, list[dict[str, float]]()

    def step(self) -> None:
        """One step, timed."""
        progress, silent = self.setup.state.progress, self.setup.lap
        place, progress.step_in_epoch = progress.step_in_epoch, 0
        laps = dict.fromkeys(PARTS, 0.0)
        self.setup.lap = _stopwatch(laps, _clock(self.setup))
        _step(self.setup, self.pixels, self.index)
        self.setup.lap("optimizer")  # the average of the weights
        self.setup.lap, progress.step_in_epoch = silent, place
        self.rows.append(laps)

    def parts(self, num_steps: int) -> dict[str, np.ndarray]:
        """Seconds of each part of the last `num_steps` steps."""
        return {part: np.array([laps[part] for laps in self.rows[-num_steps:]]) for part in PARTS}


def _stopwatch(laps: dict[str, float], clock: Callable[[], float]) -> Callable[[str], None]:
    """Adds to `laps` the time since the call before."""
    last = clock()

    def lap(part: str) -> None:
        nonlocal last
        now = clock()
        laps[part] += now - last
        last = now

    return lap


def _step(setup: Setup, pixels: Tensor, index: Tensor) -> None:
    """What the loop does with a batch."""
    take_step(setup, pixels, index)
    if (average := setup.average_now()) is not None:
        setup.state.progress.ema_updates += 1
        average.update(setup.state.model, setup.state.progress.ema_updates)


def _time_scoring(setup: Setup, num_steps: int) -> Spread:
    """Seconds an image to score images as validation does, without reading them."""
    keys = setup.batches.keys_of(0)
    stored = torch.stack([to_tensor(setup.images.stored(key.index)) for key in keys])
    classifier, clock = setup.classifier_of(setup.state.model.eval()), _clock(setup)
    times = []
    for _ in range(1 + max(1, num_steps // 4)):
        begin = clock()
        classifier.logits(stored)
        times.append((clock() - begin) / len(keys))
    return Spread.of(np.array(times[1:]))


def _clock(setup: Setup) -> Callable[[], float]:
    """The time in seconds at which the device has finished what it was told."""
    if setup.runtime.device.type == "cpu":
        return time.perf_counter

    def finished() -> float:
        torch.accelerator.synchronize()
        return time.perf_counter()

    return finished


def _reset_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
