"""Recording what layers give during a forward pass, in a form whose gradient can be taken."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

__all__ = ["recorded"]


@contextmanager
def recorded(network: nn.Module, names: list[str]) -> Iterator[list[tuple[str, Tensor]]]:
    """What the named layers give, in the order in which they finish; a layer that runs twice stands twice.

    The network goes on with a copy of each, so that a later layer which writes in place (an activation of timm's batch
    norm, for example) does not change what was recorded. Outputs that are no tensors are left out. No hook stays.
    """
    record: list[tuple[str, Tensor]] = []

    def keep(name: str, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        record.append((name, output))
        return output.clone()

    handles = [
        network.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
        for name in names
    ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
