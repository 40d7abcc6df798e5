"""Steps of no consequence: a copy of the network computes as the run will, to see how fast and in how much memory."""

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from chiron.engine.compute import ComputeMode
from chiron.engine.freezing import apply_freezing
from chiron.engine.optimizers import make_optimizer, set_learning_rate
from chiron.models.create import takes_mask
from chiron.spec.input_spec import InputSpec
from chiron.spec.train_recipe import TrainRecipe

MAX_SCALINGS = 12  # an fp16 run halves its loss scale at most so often before its first step: 65536 to 16


class Trial:
    """A copy of a network in the memory layout of one mode, with an optimizer that changes nothing.

    The learning rate is 0, so that every step starts from the same weights. The network that is copied, its gradients
    and its BatchNorm statistics stay as they are; `unchanged_randomness` keeps the random state.

    Args:
        network: where the run will compute.
        mode: its memory layout; whether it is compiled.
    """

    def __init__(self, network: nn.Module, train: TrainRecipe, spec: InputSpec, mode: ComputeMode) -> None:
        self.network = copy.deepcopy(network)
        apply_freezing(self.network, train.freeze, train.epochs - 1)  # what learns longest, as a rule
        self.spec, self.device = spec, next(network.parameters()).device
        self.optimizer = make_optimizer(train, self.network)
        set_learning_rate(self.optimizer, 0.0)
        self.stepped = mode.prepare(self.network)

    def inputs(self, count: int) -> tuple[Float[Tensor, "_n _c _s _s"], ...]:
        """So many images of noise, as bright as normalized ones, and their masks where the network takes them."""
        noise = torch.Generator().manual_seed(0)
        side = self.spec.img_size
        images = torch.randn(count, self.spec.in_chans, side, side, generator=noise).to(self.device)
        if not takes_mask(self.network):
            return (images,)
        masks = torch.zeros(count, 1, side, side, device=self.device)
        masks[..., side // 4 : side - side // 4] = 1
        return images, masks

    def step(self, mode: ComputeMode, inputs: tuple[Tensor, ...], scaler: torch.amp.GradScaler) -> Tensor:
        """Forward, backward and optimizer as in the loop, with a loss like the loop's; returns the loss."""
        images, *rest = inputs
        self.network.zero_grad(set_to_none=True)
        with mode.autocast(self.device):
            logits = self.stepped(mode.lay_out(images), *rest)
        wanted = torch.zeros_like(logits, dtype=torch.float32)
        wanted[::2] = 1
        loss = functional.binary_cross_entropy_with_logits(logits.float(), wanted)
        scaler.scale(loss).backward()
        scaler.unscale_(self.optimizer)
        scaler.step(self.optimizer)
        scaler.update()
        return loss.detach()

    def answer(
        self, mode: ComputeMode, inputs: tuple[Tensor, ...], scaler: torch.amp.GradScaler
    ) -> tuple[float, Tensor]:
        """The loss and the whole gradient of a step without dropout; of fp16 after the scaler has found its scale."""
        drops = [layer for layer in self.network.modules() if "Drop" in type(layer).__name__ and layer.training]
        for layer in drops:
            layer.eval()
        try:
            for _ in range(MAX_SCALINGS if scaler.is_enabled() else 1):
                loss = self.step(mode, inputs, scaler)
                gradient = self._gradient()
                if gradient.isfinite().all():
                    break
        finally:
            for layer in drops:
                layer.train()
        return float(loss), gradient

    def _gradient(self) -> Float[Tensor, "_p"]:
        grads = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        return torch.cat([grad.detach().float().flatten() for grad in grads])


@contextmanager
def unchanged_randomness(device: torch.device) -> Iterator[None]:
    """Gives the random state back as it was."""
    devices = [] if device.type == "cpu" else [device.index or 0]
    with torch.random.fork_rng(devices, device_type=device.type):
        yield


class AllocatedMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are made within, in backward passes too: `peak` is the most at one time.

    What an operation takes for itself and gives back before it ends is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._alive: dict[int, weakref.finalize] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {self._place(tensor) for tensor in _pytree.tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        for tensor in _pytree.tree_leaves(result):
            if isinstance(tensor, Tensor) and self._place(tensor) not in given | self._alive.keys():
                self._count(tensor)
        self.peak = max(self.peak, self._now)
        return result

    @staticmethod
    def _place(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata

    def _count(self, tensor: Tensor) -> None:
        storage, place = tensor.untyped_storage(), self._place(tensor)
        size = storage.nbytes()

        def forget() -> None:
            self._now -= size
            self._alive.pop(place, None)

        self._now += size
        self._alive[place] = weakref.finalize(storage, forget)
