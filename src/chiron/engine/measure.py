"""`precision: auto`: a few seconds of timing choose precision, memory layout and compilation."""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from chiron.engine.compute import ComputeMode, parse_mode
from chiron.engine.failures import is_out_of_memory
from chiron.engine.kept_measurements import (
    Measured,
    keep_measured,
    measurement_key,
    place_of_measurements,
    read_measured,
)
from chiron.engine.runtime import Runtime, seed_step
from chiron.engine.trial import Trial, unchanged_randomness
from chiron.spec.recipe import Recipe

log = logging.getLogger("chiron.train")

SHORT_TRAINING = 5_000  # images over all epochs: a few minutes, of which measuring would take a good part
COMPILE_FROM_SECONDS = 20 * 60  # of estimated training: a build takes up to minutes, for two sizes of batch
CPU_IMAGES = 8  # of a measured step: a core is as busy with them as with more
ROUNDS, BUDGET_SECONDS = 5, 8.0  # of timing, after one step to warm up
CLEARLY_FASTER = 1.05  # or the simpler mode is taken
HOPELESS = 4.0  # a mode whose first step takes so many times that of fp32 is not timed
# How far from fp32 a mode's loss may be, as a share, and the direction of its gradient. At random weights that of bf16
# has a cosine of 1.00 in ConvNeXt and ViT, 0.99 in EfficientNet and 0.73 in DenseNet, of which nobody has shown that it
# trains as well with it.
LOSS_APART, COSINE = 0.1, 0.8
PLAIN = ComputeMode()


def choose_mode(recipe: Recipe, network: nn.Module, runtime: Runtime, *, num_images: int, part: int) -> ComputeMode:
    """The mode that the recipe names, or with `precision: auto` the fastest on this machine.

    Nothing of the run changes by it: a copy of the network takes the measured steps. With several processes the first
    one measures, and all take its answer. What was measured before is not measured again.

    Args:
        network: where the run will compute, with its first weights.
        num_images: of all epochs, repeats counted; a short training is fp32 without measuring.
        part: images that go through the network at once.
    """
    train = recipe.train
    precision = "fp32" if train.precision == "auto" else train.precision
    named = ComputeMode(precision, bool(train.channels_last), bool(train.compile))
    if train.precision != "auto":
        return named
    if num_images < SHORT_TRAINING:
        log.info("compute: %s (fewer than %s images in all epochs: not worth measuring)", named, f"{SHORT_TRAINING:,}")
        return named
    if not runtime.world.is_main:
        return parse_mode(runtime.world.share(""))
    count = min(part, CPU_IMAGES) if runtime.device.type == "cpu" else part
    key = measurement_key(recipe, runtime, count)
    measured, started = read_measured(key), time.monotonic()
    mode = _fastest_of_all(measured, recipe, network, runtime, num_images=num_images, count=count)
    if measured.changed:
        keep_measured(key, measured)
    _tell(mode, measured, seconds=time.monotonic() - started)
    return parse_mode(runtime.world.share(str(mode)))


def _fastest_of_all(
    measured: Measured, recipe: Recipe, network: nn.Module, runtime: Runtime, *, num_images: int, count: int
) -> ComputeMode:
    """The fastest eager mode, or it compiled where the training is long enough to pay for the build."""
    train = recipe.train
    eager = open_modes(runtime.device, train.channels_last, sharded=train.shard)
    if any(not measured.knows(mode) for mode in eager):
        _contest(eager, measured, recipe, network, runtime, count=count)
    best = _fastest(measured, eager)
    if best is None:
        return replace(eager[0], compiled=bool(train.compile))
    compiled = replace(best, compiled=True)
    if train.compile is not None:
        return compiled if train.compile else best
    if measured.seconds[str(best)] * num_images < COMPILE_FROM_SECONDS:
        return best
    if not measured.knows(compiled):
        _contest([best, compiled], measured, recipe, network, runtime, count=count)
    return _fastest(measured, [best, compiled]) or best


def open_modes(device: torch.device, channels_last: bool | None, *, sharded: bool = False) -> list[ComputeMode]:
    """The eager modes that a device has, simple ones first: of fp16 a CPU has none that is fast, of bf16 Apple's GPU.

    Args:
        channels_last: what the recipe says of the memory layout; None leaves it open.
        sharded: each process keeps a part of the weights, which neither fp16's scaler nor another layout can do with.
    """
    precisions = {"cpu": ["fp32", "bf16"], "mps": ["fp32", "fp16"]}.get(device.type, ["fp32", "bf16", "fp16"])
    layouts = [False, True] if channels_last is None else [channels_last]
    if sharded:
        precisions, layouts = [precision for precision in precisions if precision != "fp16"], [False]
    return [ComputeMode(precision, layout) for precision in precisions for layout in layouts]  # type: ignore[arg-type]


def _contest(
    modes: list[ComputeMode], measured: Measured, recipe: Recipe, network: nn.Module, runtime: Runtime, *, count: int
) -> None:
    """Times `modes` in turns, as long as BUDGET_SECONDS last; notes medians, and why a mode is left out.

    Where memory does not suffice for it, nothing is noted: it may the next time.
    """
    try:
        with unchanged_randomness(runtime.device):
            lanes = _Lanes(recipe, network, runtime, count)
            left_out = {mode: reason for mode in modes if (reason := lanes.enter(mode)) is not None}
            seconds = lanes.race()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        log.warning("compute: not measured: memory does not suffice for it")
        return
    for mode, reason in left_out.items():
        measured.leave_out(mode, reason)
    for mode, value in seconds.items():
        measured.note(mode, value / count)
    if any(mode.compiled for mode in modes):
        torch.compiler.reset()  # what was built for the copy is not for the network


class _Lanes:
    """One trial a memory layout and build, and the modes that run in them."""

    def __init__(self, recipe: Recipe, network: nn.Module, runtime: Runtime, count: int) -> None:
        self.recipe, self.network, self.runtime, self.count = recipe, network, runtime, count
        self.trials: dict[tuple[bool, bool], Trial] = {}
        self.scalers: dict[ComputeMode, torch.amp.GradScaler] = {}
        self.reference: tuple[float, Tensor, float] | None = None  # of fp32: loss, gradient and seconds of a first step

    def enter(self, mode: ComputeMode) -> str | None:
        """Warms a mode up and compares its first step with that of fp32; why it stays out, or None."""
        if self.reference is None:
            self.reference = self._first_step(replace(mode, precision="fp32", compiled=False))
        try:
            loss, gradient, seconds = self._first_step(mode)
        except Exception as error:  # no compiler, an operation that the precision lacks: told, and not used
            if is_out_of_memory(error):
                raise
            self.scalers.pop(mode, None)
            return str(error).strip().split("\n")[0] or type(error).__name__
        reason = _why_apart(loss, gradient, *self.reference[:2])
        if reason is None and mode.precision != "fp32" and not mode.compiled and seconds > HOPELESS * self.reference[2]:
            reason = "slow"
        if reason is not None:
            del self.scalers[mode]
        return reason

    def race(self) -> dict[ComputeMode, float]:
        """Median seconds of a step of each mode that entered, run in turns so that a busy moment hits all."""
        seconds: dict[ComputeMode, list[float]] = {mode: [] for mode in self.scalers}
        started = time.monotonic()
        for _ in range(ROUNDS):
            for mode in seconds:
                seconds[mode].append(self._timed(mode))
            if time.monotonic() - started > BUDGET_SECONDS:
                break
        return {mode: median(values) for mode, values in seconds.items()}

    def _first_step(self, mode: ComputeMode) -> tuple[float, Tensor, float]:
        lane = (mode.channels_last, mode.compiled)
        if lane not in self.trials:
            self.trials[lane] = Trial(self.network, self.recipe.train, self.recipe.input, mode)
        scaler = self.scalers[mode] = mode.make_scaler(self.runtime.device)
        seed_step(0, 0, 0)
        started = time.monotonic()
        with self.runtime.step_arithmetic():
            loss, gradient = self.trials[lane].answer(mode, self._inputs(mode), scaler)
        return loss, gradient, time.monotonic() - started

    def _inputs(self, mode: ComputeMode) -> tuple[Tensor, ...]:
        return self.trials[mode.channels_last, mode.compiled].inputs(self.count)

    def _timed(self, mode: ComputeMode) -> float:
        """Seconds of one step; a GPU takes several, so that starting them does not count."""
        steps = 1 if self.runtime.device.type == "cpu" else 5
        inputs, trial = self._inputs(mode), self.trials[mode.channels_last, mode.compiled]
        self.runtime.synchronize()
        started = time.perf_counter()
        with self.runtime.step_arithmetic():
            for _ in range(steps):
                trial.step(mode, inputs, self.scalers[mode])
        self.runtime.synchronize()
        return (time.perf_counter() - started) / steps


def _why_apart(loss: float, gradient: Tensor, plain_loss: float, plain_gradient: Tensor) -> str | None:
    """Why a mode's loss and gradient are no stand-in for those of fp32; None where they are."""
    if not (gradient.isfinite().all() and abs(loss) < float("inf")):
        return "its loss or gradient is not finite"
    if abs(loss - plain_loss) > LOSS_APART * abs(plain_loss):
        return f"its loss is {loss:.3g}, that of fp32 {plain_loss:.3g}"
    cosine = float(functional.cosine_similarity(gradient, plain_gradient, dim=0))
    if plain_gradient.any() and cosine < COSINE:
        return f"its gradient points elsewhere than that of fp32 (cosine {cosine:.2f})"
    return None


def _fastest(measured: Measured, modes: Iterable[ComputeMode]) -> ComputeMode | None:
    """The first of `modes` that no other is clearly faster than; None where none could be measured."""
    seconds = {mode: measured.seconds[str(mode)] for mode in modes if str(mode) in measured.seconds}
    if not seconds:
        return None
    least = min(seconds.values())
    return next(mode for mode, value in seconds.items() if value <= CLEARLY_FASTER * least)


def _tell(mode: ComputeMode, measured: Measured, *, seconds: float) -> None:
    """One line of what was chosen, and one of each mode that could not be."""
    if not measured.seconds:
        return
    base, own = measured.seconds.get(str(PLAIN)), measured.seconds.get(str(mode))
    gain = "" if not base or not own or mode == PLAIN else f"{base / own:.1f} times the speed of fp32; "
    when = f"measured in {seconds:.0f} s" if measured.changed else "measured before"
    log.info("compute: %s (%s%s, kept in %s)", mode, gain, when, place_of_measurements())
    if measured.changed:
        for name, reason in measured.left_out.items():
            log.info("compute: not %s: %s", name, reason)
