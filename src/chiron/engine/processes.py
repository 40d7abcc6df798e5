"""The processes that train one network together, started by `torchrun`; alone, a world of one.

Nothing else in Chiron calls torch.distributed.
"""

import os
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Shaped
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """How many processes work together, and which one this is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the same answer in all."""
        return bool(self.sum(torch.tensor(float(flag))) > 0) if self.size > 1 else flag

    def share(self, text: str) -> str:
        """What the main process says, in all processes."""
        if self.size == 1:
            return text
        texts = [text]
        distributed.broadcast_object_list(texts, src=0)
        return texts[0]

    def gather(self, own: Shaped[np.ndarray, "_n ..."]) -> list[np.ndarray]:
        """The arrays of all processes, in the order of their ranks."""
        if self.size == 1:
            return [own]
        parts: list[np.ndarray] = [own] * self.size
        distributed.all_gather_object(parts, own)
        return parts

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are the mean over all processes; alone, the model itself."""
        return model if self.size == 1 else DistributedDataParallel(model, find_unused_parameters=True)


def join_world(device: torch.device | str) -> World:
    """The world that `torchrun` has started this process in, joined."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")
    return World(distributed.get_rank(), size, int(os.environ.get("LOCAL_RANK", "0")))
