"""Time and kept memory of separable self-attention beside softmax attention, over the number of tokens.

    python benchmarks/separable_attention.py [--dim 384] [--heads 6] [--rounds 3] [--device cpu]

One layer each, of equal width, forward and backward of one image in fp32. Softmax attention comes twice: as the token
block has it, by torch's fused kernel, and with its map made, as a layer that shows its weights must. Rounds are
interleaved in one process; medians are printed. Memory is what the forward pass keeps for the backward pass, so that it
does not depend on the machine; weights are left out. Exponents are slopes of log-log fits over the last three sizes.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from chiron.core.process import prepare_process
from chiron.layers.attention import attend
from chiron.layers.token_block import SelfAttention
from chiron.models.families.convnextv2_ssa import SeparableSelfAttention

SIDES = (14, 20, 28, 40, 56, 80, 112)  # 196 to 12,544 tokens, twice as many each time
MAX_MAP_SIDE = 56  # a map of 12,544 tokens alone has 3.8 GB


class MapAttention(SelfAttention):
    """Softmax attention that makes its map."""

    def forward(self, x: Tensor) -> Tensor:
        """Mixed tokens; the map is thrown away."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        return self.proj(rearrange(attend(q, k, v)[0], "b h n d -> b n (h d)"))


def kept_bytes(layer: Callable[[Tensor], Tensor], x: Tensor, weights: set[int]) -> int:
    """Bytes of the different tensors that the forward pass keeps, without the layer's weights."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = layer(x)  # alive while its tensors are counted, so that no address comes twice
    del outputs
    return sum(sizes.values())


def seconds(layer: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Of one forward and backward pass."""
    wait = torch.cuda.synchronize if x.is_cuda else lambda: None
    wait()
    start = time.perf_counter()
    layer(x).sum().backward()
    wait()
    return time.perf_counter() - start


def slope(tokens: list[int], values: list[float]) -> float:
    """The exponent over the last three sizes."""
    return float(np.polyfit(np.log(tokens[-3:]), np.log(values[-3:]), 1)[0])


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    prepare_process()
    torch.manual_seed(0)
    device = torch.device(asked.device)
    separable = SeparableSelfAttention(asked.dim).to(device)
    modules: dict[str, nn.Module] = {
        "separable": separable,
        "softmax": SelfAttention(asked.dim, asked.heads).to(device),
        "softmax, map made": MapAttention(asked.dim, asked.heads).to(device),
    }
    layers: dict[str, Callable[[Tensor], Tensor]] = {**modules, "separable": lambda x: separable(x)[0]}
    tokens: dict[str, list[int]] = {name: [] for name in layers}
    times: dict[str, list[float]] = {name: [] for name in layers}
    kept: dict[str, list[float]] = {name: [] for name in layers}
    print(f"{'tokens':>8}" + "".join(f"{name:>30}" for name in layers))
    for side in SIDES:
        names = [name for name in layers if name != "softmax, map made" or side <= MAX_MAP_SIDE]
        x = torch.randn(1, side * side, asked.dim, device=device, requires_grad=True)
        taken: dict[str, list[float]] = {name: [] for name in names}
        for number in range(asked.rounds + 1):  # the first one warms up
            for name in names:
                spent = seconds(layers[name], x)
                if number:
                    taken[name].append(spent)
        for name in names:
            weights = {p.untyped_storage().data_ptr() for p in modules[name].parameters()}
            tokens[name].append(side * side)
            times[name].append(statistics.median(taken[name]))
            kept[name].append(kept_bytes(layers[name], x, weights))
        cells = [f"{1e3 * times[n][-1]:.2f} ms {kept[n][-1] / 1e6:9.1f} MB" if n in names else "-" for n in layers]
        print(f"{side * side:>8}" + "".join(f"{cell:>30}" for cell in cells), flush=True)
    told = [f"n^{slope(tokens[n], times[n]):.2f} n^{slope(tokens[n], kept[n]):.2f}" for n in layers]
    print(f"{'':>8}" + "".join(f"{cell:>30}" for cell in told))


if __name__ == "__main__":
    main()
