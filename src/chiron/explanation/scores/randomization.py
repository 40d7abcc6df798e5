"""Model randomization: a map that stays the same in a network that has learned nothing does not explain the network.

Source: Adebayo et al. 2018, Sanity checks for saliency maps, arXiv:1810.03292. Each parameter's values are dealt anew
among its places: all that was learned is gone, and each layer keeps its scale, so that activations neither vanish nor
grow through the layers as they would with values from an initializer that does not fit the rest.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiron.core.hashing import seed_of
from chiron.explanation.scores.rank_correlation import rank_correlation
from chiron.explanation.subject import Subject

__all__ = ["NUM_NETWORKS", "cascading_correlation", "randomization_correlation", "with_redrawn"]

NUM_NETWORKS = 3  # a single one may be alike or unlike by chance, for all images at once
NUM_STEPS = 8  # of the cascade

Explain = Callable[[Subject], Tensor]


def randomization_correlation(subject: Subject, explain: Explain, *, seed: int = 0) -> Float[Tensor, "b"]:
    """Rank correlation of each map with those of `NUM_NETWORKS` networks that have learned nothing; 0 is best.

    The mean of its absolute values: a map turned upside down still shows what it showed before.
    """
    maps = explain(subject)
    others = [explain(with_redrawn(subject, seed=seed_of("network", k, seed))) for k in range(NUM_NETWORKS)]
    return torch.stack([rank_correlation(maps, it).abs() for it in others]).mean(dim=0)


def cascading_correlation(subject: Subject, explain: Explain, *, seed: int = 0) -> Float[Tensor, "steps b"]:
    """The same as parameters are redrawn from the output to the input: after 1/8, 2/8, ... all of them, one network."""
    maps, first = explain(subject), seed_of("network", 0, seed)
    steps = (with_redrawn(subject, seed=first, share=(step + 1) / NUM_STEPS) for step in range(NUM_STEPS))
    return torch.stack([rank_correlation(maps, explain(it)).abs() for it in steps])


def with_redrawn(subject: Subject, *, seed: int = 0, share: float = 1.0) -> Subject:
    """The same images with a copy of the network whose parameters are dealt anew.

    Running statistics of redrawn norms are taken from these images, as those of the old weights do not fit.

    Args:
        share: of the parameters, counted from the last one that the network defines, which in a feed-forward network is
            next to the output; at least one is redrawn.
    """
    network = copy.deepcopy(subject.network)
    named = list(network.named_parameters())
    redrawn = named[-max(1, round(share * len(named))) :]
    with torch.no_grad():
        for name, parameter in redrawn:
            generator = torch.Generator().manual_seed(seed_of("redrawn", name, seed))
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    _fit_norms(network, subject.inputs, {id(parameter) for _, parameter in redrawn})
    return replace(subject, network=network)


@torch.no_grad()
def _fit_norms(network: nn.Module, inputs: tuple[Tensor, ...], redrawn: set[int]) -> None:
    """Sets the running statistics of batch norms with redrawn weights to those of the inputs and their mirror images.

    The mirror images make two rows of one: a norm after pooling has one value a row.
    """
    norms = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
        if layer.weight is None or id(layer.weight) in redrawn
    ]
    if not norms:
        return
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.training = True
        norm.momentum = 1.0  # the statistics of this pass alone
    network(*(torch.cat([it, it.flip(-1)]) for it in inputs))
    for norm, before in zip(norms, momentum, strict=True):
        norm.training = False
        norm.momentum = before
