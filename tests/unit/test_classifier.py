import numpy as np
import pytest
import torch
from small_bundles import PROVENANCE

from chiron.classifier import Classifier, build_network, class_logits, load
from chiron.core.errors import BundleError, DataError
from chiron.data.dataset import to_tensor
from chiron.model_card import model_card
from chiron.scorer import decode_any
from chiron.spec.bundle_spec import NetworkSpec
from chiron.spec.decision import Conformal, Decision, Threshold
from chiron.spec.input_spec import InputSpec
from chiron.spec.labels import LabelSpace
from chiron.spec.provenance import WeightsOrigin

SPEC = InputSpec(img_size=32, in_chans=1)
NETWORK = NetworkSpec(name="chiron_fair_cnn_nano", args={})


def make(labels: LabelSpace, members: int = 1) -> Classifier:
    networks = [build_network(NETWORK, SPEC, labels, seed=k) for k in range(members)]
    spec = NetworkSpec(name=NETWORK.name, args={}, members=members)
    return Classifier(networks, network_spec=spec, input_spec=SPEC, labels=labels, provenance=PROVENANCE)


@pytest.fixture
def pixels(random):
    return torch.stack([to_tensor(random.integers(0, 256, (32, 32, 1), dtype=np.uint8)) for _ in range(5)])


@pytest.mark.parametrize(
    "labels",
    [
        LabelSpace(names=("a", "b", "c")),
        LabelSpace(names=("a", "b"), positive="a"),
        LabelSpace(names=("a", "b"), positive="a", one_logit=True),
        LabelSpace(kind="multi_label", names=("a", "b", "c")),
    ],
)
@pytest.mark.parametrize("members", [1, 2])
def test_saved_and_loaded_say_the_same(tmp_path, pixels, labels, members):
    classifier = make(labels, members)
    bundle_id = classifier.save(tmp_path / "bundle")
    loaded = load(tmp_path / "bundle")
    assert loaded.bundle_id == bundle_id
    assert loaded.labels == labels
    torch.testing.assert_close(loaded.logits(pixels), classifier.logits(pixels), rtol=0, atol=0)
    assert loaded.logits(pixels).shape == (5, len(labels.names))
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == [
        "README.md",
        "bundle.json",
        "weights.safetensors",
    ]


def test_one_logit_is_z_against_zero():
    z = torch.tensor([[2.0], [-1.0]])
    first = class_logits(z, LabelSpace(names=("a", "b"), positive="a", one_logit=True))
    second = class_logits(z, LabelSpace(names=("a", "b"), positive="b", one_logit=True))
    assert first.tolist() == [[2.0, 0.0], [-1.0, 0.0]]
    assert second.tolist() == [[0.0, 2.0], [0.0, -1.0]]


def test_several_networks_are_averaged(pixels):
    both = make(LabelSpace(names=("a", "b", "c")), members=2)
    alone = [
        Classifier([network], network_spec=NETWORK, input_spec=SPEC, labels=both.labels).logits(pixels)
        for network in both.networks
    ]
    torch.testing.assert_close(both.logits(pixels), (alone[0] + alone[1]) / 2)


def test_probabilities_are_softmax_or_a_sigmoid_a_class(pixels):
    single, multi = (
        make(LabelSpace(names=("a", "b"), positive="a")),
        make(LabelSpace(kind="multi_label", names=("a", "b"))),
    )
    logits = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(torch.from_numpy(single.probabilities(logits.numpy()[None])), logits.softmax(1))
    torch.testing.assert_close(torch.from_numpy(multi.probabilities(logits.numpy()[None])), logits.sigmoid())


def test_logits_ignore_autocast_and_training_mode(pixels):
    classifier = make(LabelSpace(names=("a", "b", "c")))
    plain = classifier.logits(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(classifier.logits(pixels), plain, rtol=0, atol=0)
    assert plain.dtype == torch.float32


def test_bundle_holds_no_code_and_no_path(tmp_path):
    make(LabelSpace(names=("a", "b"), positive="a")).save(tmp_path / "bundle")
    for path in (tmp_path / "bundle").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
        assert b"pickle" not in path.read_bytes()


def card_of(**facts):
    made = make(LabelSpace(names=("a", "b", "c"))).bundle_spec
    return model_card("id", made.model_copy(update=facts))


def test_model_card_calls_the_promises_of_cross_fitting_weaker():
    stated = {"question": "ill", "classes": ("b",), "rule": "guaranteed", "sensitivity": 0.9, "value": 0.3}
    found = {"low": 0.2, "high": 0.4, "num_found": 70, "num_positive": 71, "num_groups": 71}
    cards = {
        fitted_on: card_of(
            decision=Decision(
                thresholds=(Threshold(**stated, **found, fitted_on=fitted_on),),
                conformal=Conformal(score="lac", alpha=0.1, fitted_on=fitted_on),
            )
        )
        for fitted_on in ("cal", "cross_fit")
    }
    for weaker in ("of their mean, which answers, they are not proven", "certain to cover 1 - 2 alpha alone"):
        assert weaker in cards["cross_fit"]
        assert weaker not in cards["cal"]


def test_model_card_marks_what_only_a_person_knows(tmp_path):
    make(LabelSpace(names=("a", "b"), positive="a")).save(tmp_path / "bundle")
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "Population: not stated by the author" in card
    assert "not calibrated" in card
    assert "not a medical device" in card


def test_the_name_of_a_weights_file_writes_nothing_into_the_card(tmp_path):
    origin = WeightsOrigin(
        source="a](http://x)<b>\n## Approved", revision=None, license=None, sha256="0", num_loaded=1, num_drawn=0
    )
    provenance = PROVENANCE.model_copy(update={"weights": origin})
    card = card_of(provenance=provenance)
    assert r"from a\](http://x)\<b\>\\n\#\# Approved (license: not stated)" in card
    assert "\n## Approved" not in card


def test_tensors_of_another_network_are_refused(tmp_path):
    labels = LabelSpace(names=("a", "b"), positive="a")
    three = make(LabelSpace(names=("a", "b", "c")))
    wrong = Classifier(
        list(three.networks), network_spec=NETWORK, input_spec=SPEC, labels=labels, provenance=PROVENANCE
    )
    wrong.save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="tensors must fit its network chiron_fair_cnn_nano"):
        load(tmp_path / "bundle")


def test_classifier_without_provenance_is_not_saved(tmp_path):
    labels = LabelSpace(names=("a", "b"), positive="a")
    network = build_network(NETWORK, SPEC, labels)
    with pytest.raises(BundleError, match="must say where it comes from"):
        Classifier([network], network_spec=NETWORK, input_spec=SPEC, labels=labels).save(tmp_path / "bundle")


@pytest.mark.usefixtures("unchecked")
def test_other_inputs_are_told(tmp_path):
    with pytest.raises(DataError, match="Got list"):
        decode_any([1, 2])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"Got No such file or directory at .*missing\.png"):
        decode_any(tmp_path / "missing.png")
