"""How long Chiron's hybrids take, beside the timm model of equal work that is nearest in kind.

    python benchmarks/models.py [--models chiron_h_coatnet ...] [--img-size 224] [--rounds 7]

Forward (evaluation, no gradient) and training step (forward, loss, backward, AdamW) of a batch of 8 in fp32 on the CPU,
both models in one process, one after the other in every round, so that what else the machine does meets both. The ratio
is the other model's time over Chiron's, a round each; above 1 Chiron is the faster one. The last pair is
`chiron_h_coatnet_corrected` beside itself with nothing pruned: what pruning saves.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import nn

from chiron.core.errors import ChironError, ModelError
from chiron.models.create import create_model, example_inputs
from chiron.models.describe import count_macs

BATCH, NUM_CLASSES = 8, 5
EQUAL = 0.25  # multiply-adds of a pair may differ by this share of the other model's


@dataclass(frozen=True)
class Pair:
    """A Chiron model and what it is measured against."""

    name: str
    other: str
    other_args: dict[str, Any] = field(default_factory=dict)

    @property
    def other_told(self) -> str:
        """The other model's name with its arguments."""
        return " ".join([self.other, *(f"{key}={value}" for key, value in self.other_args.items())])


PAIRS = [
    Pair("chiron_h_coatnet", "coatnet_1_rw_224"),
    Pair("chiron_h_coatnet_corrected", "coatnet_1_rw_224"),
    Pair("chiron_gft", "vit_tiny_patch16_224"),
    Pair("chiron_gft_corrected", "vit_tiny_patch16_224"),
    Pair("chiron_convnextv2_ssa", "convnext_small"),
    Pair("chiron_convnextv2_ssa_compact", "coatnet_pico_rw_224"),
    Pair("chiron_convnextv2_ssa_minimal", "convnextv2_nano"),
    Pair("chiron_densenet_transformer", "densenet121"),
    Pair("chiron_effnetv2_s", "efficientnetv2_s"),
    Pair("chiron_hybrid_lung_vit", "deit_base_patch16_224"),
    Pair("chiron_hybrid_lung_vit_tiny", "deit_tiny_patch16_224"),
    Pair("chiron_h_coatnet_corrected", "chiron_h_coatnet_corrected", {"keep_ratios": (1.0, 1.0)}),
]


def chosen_pairs(names: list[str] | None) -> list[Pair]:
    """All pairs, or those of the names."""
    known = {pair.name for pair in PAIRS}
    for name in names or ():
        if name not in known:
            raise ModelError(f"A model must be one of {', '.join(sorted(known))}. Got {name!r}. Change --models.")
    return [pair for pair in PAIRS if names is None or pair.name in names]


def forward(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    """Work of one forward pass."""

    def work() -> object:
        with torch.no_grad():
            return model.eval()(*inputs)

    return work


def training_step(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    """Work of one training step; weights hardly change, for the rate is tiny."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-8)
    targets = torch.arange(BATCH) % NUM_CLASSES

    def work() -> None:
        model.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(*inputs), targets).backward()
        optimizer.step()

    return work


def interleaved(works: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Seconds of each work in every round, after one round that is not counted."""
    times: list[list[float]] = [[] for _ in works]
    for round_number in range(rounds + 1):
        for work, seconds in zip(works, times, strict=True):
            started = time.perf_counter()
            work()
            if round_number:
                seconds.append(time.perf_counter() - started)
    return times


def told(values: list[float], scale: float = 1.0, digits: int = 0) -> str:
    """Median and range."""
    low, middle, high = (scale * f(values) for f in (min, statistics.median, max))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def measure(pair: Pair, img_size: int, rounds: int) -> None:
    """Prints the rows of a pair."""
    builds: list[tuple[str, dict[str, Any]]] = [(pair.name, {}), (pair.other, pair.other_args)]
    models = [
        create_model(name, num_classes=NUM_CLASSES, img_size=img_size, init="scratch", seed=0, **args)
        for name, args in builds
    ]
    ours, theirs = (count_macs(model, 3, img_size) for model in models)
    print(f"\n{pair.name} ({ours / 1e9:.2f} G) | {pair.other_told} ({theirs / 1e9:.2f} G), {img_size} pixels")
    if abs(ours - theirs) > EQUAL * theirs:
        print(f"  not of equal work: {ours / theirs:.2f} times the multiply-adds")
    images = torch.randn(BATCH, 3, img_size, img_size, generator=torch.Generator().manual_seed(0))
    for title, make in (("forward", forward), ("training step", training_step)):
        works = [make(model, example_inputs(model, images)) for model in models]
        a, b = interleaved(works, rounds)
        ratios = [other / own for own, other in zip(a, b, strict=True)]
        print(f"  {title:<14} {told(a, 1e3):>20} {told(b, 1e3):>20}   {told(ratios, digits=2)}")


def main() -> None:
    """Reads the options and measures pair after pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only the pairs of these Chiron models")
    parser.add_argument("--img-size", type=int, help="pixels; without it the size that the Chiron model is made for")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    pairs = chosen_pairs(options.models)
    print(f"batch {BATCH}, fp32, {torch.get_num_threads()} threads, {options.rounds} rounds; median (range)")
    print(f"  {'':<14} {'Chiron, ms':>20} {'other, ms':>20}   other / Chiron")
    for pair in pairs:
        config = timm.models.get_pretrained_cfg(pair.name) if timm.is_model(pair.name) else None
        measure(pair, options.img_size or (config.input_size[-1] if config else 224), options.rounds)


if __name__ == "__main__":
    try:
        main()
    except ChironError as error:
        sys.exit(str(error))
