"""How training steps compute: precision, memory layout, compilation. Kept numbers are fp32 and eager all the same."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class ComputeMode:
    """One way to compute a step; weights depend on it."""

    precision: Precision = "fp32"
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        parts = [self.precision, "channels_last" * self.channels_last, "compile" * self.compiled]
        return "+".join(part for part in parts if part)

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """The precision of the forward pass."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16 if self.precision == "bf16" else torch.float16)

    def make_scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Keeps small gradients of fp16 from vanishing; in other precisions it does nothing."""
        return torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")

    def lay_out(self, tensor: Tensor) -> Tensor:
        """Images in the memory layout of this mode."""
        return tensor.contiguous(memory_format=torch.channels_last) if self.channels_last else tensor

    def lay_out_weights(self, model: nn.Module) -> None:
        """The same for weights, in place; before an average is copied from them or an optimizer's state is restored."""
        if self.channels_last:
            model.to(memory_format=torch.channels_last)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The model as steps call it; its parameters stay the model's own."""
        self.lay_out_weights(model)
        return torch.compile(model) if self.compiled else model  # type: ignore[return-value]


def parse_mode(text: str) -> ComputeMode:
    """The mode that `str` of it gave, as a checkpoint keeps it."""
    precision, *rest = text.split("+")
    return ComputeMode(precision, "channels_last" in rest, "compile" in rest)  # type: ignore[arg-type]
