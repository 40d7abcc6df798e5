"""What steps say of themselves, on its way from the device into the epoch's sum."""

from dataclasses import dataclass

import torch
from torch import Tensor

from chiron.core.errors import EngineError
from chiron.engine.checkpoint import TrainingState
from chiron.engine.failures import require_finite

READ_EVERY_STEPS = 50  # of a GPU: reading waits until it has done all that it was given
LEAST_SCALE = 1e-4  # of fp16 losses; gradients that overflow even so are not finite


@dataclass(frozen=True)
class StepResult:
    """What one step minimized and, where it is clipped, the norm of the gradient; all still on the device."""

    losses: Tensor  # all together, then the auxiliary ones alone
    right: Tensor  # images whose own class is the most probable one; NaN where images are mixed
    norm: Tensor | None
    count: int  # images of the whole batch
    step: int  # of the run


class StepResults:
    """Adds losses to `progress.loss_sum` in the order of their steps: on a CPU at once, on a GPU now and then.

    `read` stands before all that is told, validated or kept, so that no loss that is not finite gets past it.
    """

    def __init__(self, state: TrainingState, device: torch.device, auxiliary: tuple[str, ...] = ()) -> None:
        self._state, self._auxiliary, self._waiting = state, auxiliary, list[StepResult]()
        self._every = 1 if device.type == "cpu" else READ_EVERY_STEPS

    def add(self, result: StepResult) -> None:
        """Takes in one step.

        Raises:
            EngineError: of the steps that are read with it, as `read` does.
        """
        self._waiting.append(result)
        if len(self._waiting) >= self._every:
            self.read()

    def read(self) -> None:
        """Takes in all steps that wait.

        Raises:
            EngineError: a loss or gradient is not finite, or fp16 has no scale that keeps gradients finite.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        losses = torch.stack([result.losses for result in waiting]).tolist()  # one wait for all
        rights = torch.stack([result.right for result in waiting]).tolist()
        norms = torch.stack([result.losses[0] if result.norm is None else result.norm for result in waiting]).tolist()
        scaler, progress = self._state.scaler, self._state.progress
        for result, (loss, *others), right, norm in zip(waiting, losses, rights, norms, strict=True):
            require_finite(loss, what="training loss", step=result.step)
            if not scaler.is_enabled():  # which leaves out steps that are not finite
                require_finite(norm, what="norm of the gradient", step=result.step)
            progress.loss_sum += loss * result.count
            progress.note_right(right, result.count)
            progress.note_auxiliary(dict(zip(self._auxiliary, others, strict=True)), result.count)
        if scaler.is_enabled() and scaler.get_scale() < LEAST_SCALE:
            raise EngineError(
                f"Gradients of fp16 must be finite at some scale of the loss. Got overflows down to a scale of "
                f"{scaler.get_scale():.1g} at step {waiting[-1].step}. Set train.precision: bf16 or fp32, or lower "
                "train.lr; the last checkpoint is intact."
            )
