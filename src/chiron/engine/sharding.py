"""A network of which each process keeps a part (`train.shard`), by torch's FSDP2; as checkpoints know it, it is whole.

Source: Zhao et al. 2023, arXiv:2304.11277; torch.distributed.fsdp.fully_shard.
"""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from chiron.models.stages import named_stages


def shard(model: nn.Module, num_processes: int) -> None:
    """Leaves each process an equal part of every parameter, in place; a stage is put together while it computes.

    Make the optimizer after this: parameters are new objects.
    """
    mesh = init_device_mesh(next(model.parameters()).device.type, (num_processes,))
    for layer in _layers_of_stages(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if hasattr(model, "forward_named"):  # which auxiliary losses call in place of forward
        register_fsdp_forward_method(model, "forward_named")


def is_sharded(model: nn.Module) -> bool:
    """Whether other processes have parts of `model`, or of what it wraps."""
    return any(isinstance(layer, FSDPModule) for layer in model.modules())


def exchange_gradients(model: nn.Module, wanted: bool) -> None:
    """Whether the next backward pass leaves each process its part of the mean gradient, or only adds up its own."""
    for layer in model.modules():
        if isinstance(layer, FSDPModule):
            layer.set_requires_gradient_sync(wanted, recurse=False)


def whole_tensor(tensor: Tensor) -> Tensor:
    """The tensor with the parts of all processes, which all call this; any other tensor as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, where `like` is sharded and of its shape; any other on its device."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements)


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """`load_state_dict` of whole tensors into a model that may be sharded."""
    own = model.state_dict()
    model.load_state_dict({name: part_like(tensor, own.get(name, tensor)) for name, tensor in weights.items()})


def _layers_of_stages(model: nn.Module) -> Iterable[nn.Module]:
    """The modules that hold whole stages, or parts of one, none inside another, and never the model itself."""
    modules = dict(model.named_modules())
    prefixes = {prefix for stage in named_stages(model).values() for prefix in stage}
    names = {prefix if prefix in modules else prefix.rpartition(".")[0] for prefix in prefixes} - {""}
    outer = [name for name in sorted(names) if not any(name.startswith(f"{other}.") for other in names)]
    return [modules[name] for name in outer if any(True for _ in modules[name].parameters())]
