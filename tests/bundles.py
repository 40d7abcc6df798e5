"""Classifiers with random weights, for tests of what is done with bundles."""

from typing import Any

from small_bundles import PROVENANCE

from chiron.classifier import Classifier, build_network
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.decision import Decision
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace

THREE = LabelSpace(names=("a", "b", "c"))
PAIR = LabelSpace(names=("a", "b"), positive="b")
ONE_LOGIT = LabelSpace(names=("a", "b"), positive="b", one_logit=True)
SEVERAL = LabelSpace(kind="multi_label", names=("a", "b", "c"))


def classifier_of(
    name: str = "chiron_fair_cnn_nano",
    labels: LabelSpace = THREE,
    *,
    members: int = 1,
    decision: Decision | None = None,
    input_spec: InputSpec | None = None,
    **args: Any,
) -> Classifier:
    """Networks of one name with different random weights; 32 gray pixels where nothing else is said."""
    spec = input_spec or InputSpec(img_size=32, in_chans=1)
    network = NetworkSpec(name=name, args=args, members=members)
    networks = [build_network(network, spec, labels, seed=k) for k in range(members)]
    return Classifier(
        networks, network_spec=network, input_spec=spec, labels=labels, decision=decision, provenance=PROVENANCE
    )
