"""Bundles of small networks with random weights, for tests of what is done with outputs, whatever they are."""

from pathlib import Path

import numpy as np
import torch

from chiron.classifier import Classifier, build_network
from chiron.data.dataset import to_tensor
from chiron.models.scope import fit_scope_distance
from chiron.preprocess.finish import Finish
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.decision import Decision
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import Provenance
from chiron.spec.scope import ScopeSpec

SPEC = InputSpec(img_size=32, in_chans=1)
LABELS = LabelSpace(names=("a", "b", "c"), descriptions={"b": "the second"})
PROVENANCE = Provenance(
    created="2026-01-01T00:00:00+00:00",
    chiron_version="0",
    library_versions={"torch": "x"},
    recipe={},
    data_digest="0" * 64,
    data_counts={"train": {"images": 2, "groups": 1}},
    grouping="none",
    accepted_leaks=0,
    init="scratch",
    num_parameters=1,
    best_epoch=1,
    selected_by="val_auroc",
    selection_value=None,
)


def pictures(count: int, *, seed: int = 0, size: int = 40, channels: int = 1) -> np.ndarray:
    """Images of noise with a brighter corner."""
    random = np.random.default_rng(seed)
    made = random.integers(0, 120, (count, size, size, channels), dtype=np.uint8)
    made[:, 8:20, 8:20] += 100
    return made


def small_classifier(
    *,
    name: str = "chiron_fair_cnn_nano",
    labels: LabelSpace = LABELS,
    spec: InputSpec = SPEC,
    decision: Decision | None = None,
    members: int = 1,
    seed: int = 0,
    scope: bool = True,
) -> Classifier:
    """Networks of seed, seed + 1, ..., with the scope of `pictures` unless there is to be none."""
    network = NetworkSpec(name=name, args={}, members=members)
    networks = [build_network(network, spec, labels, seed=seed + k) for k in range(members)]
    made = Classifier(
        networks, network_spec=network, input_spec=spec, labels=labels, provenance=PROVENANCE, decision=decision
    )
    if scope:
        made.scope, made.scope_distance = _scope(made, spec)
    return made


def small_bundle(folder: Path, **how: object) -> Path:
    """The same, saved."""
    small_classifier(**how).save(folder)  # type: ignore[arg-type]
    return folder


def _scope(classifier: Classifier, spec: InputSpec) -> tuple[ScopeSpec, torch.nn.Module]:
    stored = [to_tensor(classifier.store(it)) for it in pictures(80, channels=spec.in_chans)]
    inputs = Finish(spec)(torch.stack(stored))[0]
    distance = fit_scope_distance([inputs[:60]], img_size=spec.img_size, in_chans=spec.in_chans)
    quantiles = np.quantile(distance(inputs[60:]).numpy(), np.linspace(0, 1, 101))
    told = ScopeSpec(
        quantiles=(tuple(quantiles.tolist()),),
        limit_percent=99,
        fitted_on="val",
        num_images=20,
        num_train_images=60,
        least_side_px=40,
        least_detail=0.01,
        colors="both",
    )
    return told, distance
