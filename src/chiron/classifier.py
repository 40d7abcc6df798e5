"""Classifier = preprocess + network + decision: the one object for use, saved and loaded as a bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from chiron.bundle import (
    read_bundle,
    read_experience,
    read_explainer_checks,
    write_bundle,
    write_experience,
    write_explainer_checks,
)
from chiron.core.errors import BundleError
from chiron.data.dataset import to_tensor
from chiron.data.known_images import KnownImages
from chiron.models.create import create_model
from chiron.models.scope import ScopeDistance
from chiron.preprocess.finish import Finish
from chiron.preprocess.views import views_of
from chiron.scorer import Outputs, Scorer, StoredImages
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.decision import Tta
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace


class Classifier(Scorer):
    """A bundle whose networks run in torch.

    Kept numbers are computed in fp32, eager, in evaluation mode: `member_logits` is the only road from pixels to
    numbers.
    """

    def __init__(
        self, networks: list[nn.Module], *, scope_distance: ScopeDistance | None = None, **described: Any
    ) -> None:
        """`described` is what every Scorer is given; a distance belongs to its `scope`."""
        super().__init__(**described)
        self.networks = nn.ModuleList(networks).eval().float()
        self.finish = Finish(self.input_spec)
        self.scope_distance = None if scope_distance is None else scope_distance.eval().float()

    def to(self, device: torch.device | str) -> "Classifier":
        """Moves networks and preprocessing to `device`."""
        self.networks.to(device)
        self.finish.to(device)
        if self.scope_distance is not None:
            self.scope_distance.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.finish.scale.device

    def outputs(self, stored: StoredImages) -> Outputs:
        """What the networks give for images as `store` makes them, stacked."""
        pixels = torch.stack([to_tensor(image) for image in stored])
        logits = self.member_logits(pixels).cpu().double().numpy()  # the CPU first: Apple's GPU has no float64
        distances = self.distances(pixels)
        return Outputs(logits, None if distances is None else distances.cpu().double().numpy()[np.newaxis])

    def logits(self, stored: Shaped[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits, one column a class of `labels.names`; of several networks the mean.

        A one-logit network gives its z for the positive class and 0 for the other.
        """
        return self.member_logits(stored).mean(0)

    @torch.inference_mode()
    def member_logits(
        self, stored: Shaped[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "members batch classes"]:
        """The logits of each network: what probabilities are made of where each was calibrated by itself."""
        with torch.autocast(self.device.type, enabled=False):
            inputs = self.finish(stored.to(self.device))
            return torch.stack([class_logits(network(*inputs), self.labels) for network in self.networks])

    def member_logits_of_views(
        self, stored: Shaped[Tensor, "batch channels height width"], tta: Tta
    ) -> Float[Tensor, "members batch classes"]:
        """The logits of each network, of several views of an image those of their mean probabilities."""
        if tta == "none":
            return self.member_logits(stored)
        views = views_of(stored.permute(0, 2, 3, 1).numpy(), tta)
        each = [torch.from_numpy(np.ascontiguousarray(view)).permute(0, 3, 1, 2) for view in views]
        logits = [self.member_logits(view).cpu().double().numpy() for view in each]
        return torch.from_numpy(self.averaged(logits)).float()

    @torch.inference_mode()
    def distances(self, stored: Shaped[Tensor, "batch channels height width"]) -> Float[Tensor, "batch"] | None:
        """How unlike the training images each image is; None without an out-of-scope score."""
        if self.scope_distance is None:
            return None
        with torch.autocast(self.device.type, enabled=False):
            return self.scope_distance(self.finish(stored.to(self.device))[0])

    def save(self, folder: str | Path, *, known: KnownImages | None = None) -> str:
        """Writes the bundle and returns its id.

        Args:
            known: the images that it was made with, to be recognized among others.
        Raises:
            BundleError: the classifier has no provenance.
            OutputError: the folder cannot be written.
        """
        spec = self.bundle_spec
        tensors = {
            f"member_{k}.{name}": tensor
            for k, network in enumerate(self.networks)
            for name, tensor in network.state_dict().items()
        }
        if self.scope_distance is not None:
            tensors |= {f"scope.{name}": tensor for name, tensor in self.scope_distance.state_dict().items()}
        former, self.bundle_id = self.bundle_id, write_bundle(Path(folder), spec, tensors, known)
        if former != self.bundle_id:  # they were of that bundle
            self.explainers, self.experience = (), None
        if self.explainers:
            write_explainer_checks(Path(folder), self.bundle_id, self.explainers)
        if self.experience is not None:
            write_experience(Path(folder), self.bundle_id, self.experience)
        return self.bundle_id


def load(folder: str | Path, *, device: str = "cpu") -> Classifier:
    """The classifier in a bundle or run folder; predicts the same as the one that was saved.

    Raises:
        BundleError: the bundle is missing, damaged, or its tensors do not fit its network.
    """
    identity, spec, tensors = read_bundle(Path(folder))
    networks = []
    for k in range(spec.network.members):
        network = build_network(spec.network, spec.input, spec.labels)
        prefix = f"member_{k}."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        try:
            network.load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise BundleError(
                f"A bundle's tensors must fit its network {spec.network.name}. Got {error}. "
                "Use the library versions named in its README.md."
            ) from error
        networks.append(network)
    classifier = Classifier(
        networks,
        network_spec=spec.network,
        input_spec=spec.input,
        labels=spec.labels,
        decision=spec.decision,
        intended_use=spec.intended_use,
        provenance=spec.provenance,
        bundle_id=identity,
        explainers=read_explainer_checks(Path(folder), identity),
        experience=read_experience(Path(folder), identity),
        scope=spec.scope,
        scope_distance=None if spec.scope is None else _scope_distance(tensors, spec.input),
    )
    return classifier.to(device)


def _scope_distance(tensors: dict[str, Tensor], input_spec: InputSpec) -> ScopeDistance:
    own = {name.removeprefix("scope."): tensor for name, tensor in tensors.items() if name.startswith("scope.")}
    try:
        made = ScopeDistance(
            img_size=input_spec.img_size, in_chans=input_spec.in_chans, num_centers=len(own["centers"])
        )
        made.load_state_dict(own, strict=True)
    except (KeyError, RuntimeError) as error:
        raise BundleError(
            f"A bundle with an out-of-scope score must hold its tensors. Got {error}. Copy or train it again."
        ) from error
    return made


def build_network(
    network: NetworkSpec,
    input_spec: InputSpec,
    labels: LabelSpace,
    *,
    init: str = "scratch",
    weights: str | None = None,
    seed: int = 0,
) -> nn.Module:
    """The network of a specification with its first weights; the arguments are those of `create_model`."""
    return create_model(
        network.name,
        num_classes=labels.num_outputs,
        in_chans=input_spec.in_chans,
        img_size=input_spec.img_size,
        with_mask=input_spec.mask != "none",
        head=network.head,
        head_args=network.head_args,
        init=init,
        weights=weights,
        seed=seed,
        **network.args,
    )


def class_logits(out: Float[Tensor, "batch outputs"], labels: LabelSpace) -> Float[Tensor, "batch classes"]:
    """A column a class; the one logit of a binary network becomes (0, z) in the order of the names."""
    if not labels.one_logit:
        return out
    zeros = torch.zeros_like(out)
    return torch.cat([out, zeros] if labels.positive_index == 0 else [zeros, out], dim=1)
