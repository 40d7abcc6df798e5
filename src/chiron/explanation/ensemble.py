"""Several networks as one subject, so that scores of maps ask them together."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiron.explanation.explain import mean_map, member_maps
from chiron.explanation.subject import Subject

__all__ = ["Ensemble", "bound", "joined", "members_of"]


class Ensemble(nn.Module):
    """Networks with the same inputs; their mean logits."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks).eval()

    def forward(self, *inputs: Float[Tensor, "b _c _h _w"]) -> Float[Tensor, "b _outputs"]:
        """The mean over networks of what each says."""
        return torch.stack([network(*inputs) for network in self.networks]).mean(dim=0)


def joined(subjects: Sequence[Subject]) -> Subject:
    """One subject of all networks: the first where there is one only, otherwise an `Ensemble`."""
    if len(subjects) == 1:
        return subjects[0]
    return replace(subjects[0], network=Ensemble([subject.network for subject in subjects]))


def members_of(subject: Subject) -> list[Subject]:
    """A subject for each network: the way back from `joined`."""
    if not isinstance(subject.network, Ensemble):
        return [subject]
    return [replace(subject, network=network) for network in subject.network.networks]


def bound(method: str, *, seed: int = 0) -> Callable[[Subject], Float[Tensor, "b _gh _gw"]]:
    """An explainer as scores take it: with its seed, for one network or several; blank maps are given back."""
    return lambda subject: mean_map(member_maps(members_of(subject), method, seed=seed))
