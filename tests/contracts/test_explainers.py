"""Every explainer keeps the contract with every Chiron family, and those that read a layer with every timm `test_*`."""

from functools import cache

import pytest
import timm
import torch

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.core.errors import ExplainError
from chiron.explanation.contract import check_explainer
from chiron.explanation.explain import explainer_names
from chiron.explanation.subject import Subject
from chiron.models.create import create_model, example_inputs
from chiron.models.registry import chiron_model_names
from chiron.spec.labels import LabelSpace

FAMILIES = chiron_model_names("*_nano")
LAYER_MAPS = ["eigen_cam", "feature_maps", "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "score_cam"]
COSTLY = ["integrated_gradients", "occlusion", "score_cam", "smooth_grad"]  # many passes an image
LABELS = LabelSpace(names=("a", "b", "c"))


def pairs():
    """Every explainer with every family; the costly ones with one family by default, with the others when slow."""
    for name in explainer_names():
        for model in FAMILIES:
            is_slow = name in COSTLY and model != "chiron_fair_cnn_nano"
            yield pytest.param(name, model, marks=[pytest.mark.slow] if is_slow else [])


@cache
def subject_of(model: str) -> Subject:
    """A network of random weights, in float64: what it sees at its places is almost alike, the rest is rounding."""
    network = create_model(model, num_classes=3, img_size=64, init="scratch", seed=0).eval().double()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    inputs = tuple(it.double() for it in example_inputs(network, images))
    return Subject(network, inputs, torch.tensor([0, 1]), LABELS)


@cache
def showing_its_class(model: str) -> Subject:
    """A network of timm whose first class is what the images show: of random classes a map may rightly be blank."""
    network = create_model(model, num_classes=3, img_size=64, init="scratch", seed=0).eval().double()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        seen = network.forward_head(network.forward_features(images), pre_logits=True)
        network.get_classifier().weight[0] = seen.mean(dim=0).flatten()
    return Subject(network, (images,), torch.tensor([0, 1]), LABELS)


@pytest.mark.parametrize(("name", "model"), list(pairs()))
def test_family(name, model):
    reason = check_explainer(name, subject_of(model))
    assert reason is None or name not in LAYER_MAPS


def timm_pairs():
    """Every map layer is read by each cheap explainer; the one that runs the network a channel, with two networks."""
    for name in LAYER_MAPS:
        models = ["test_resnet", "test_vit"] if name in COSTLY else timm.list_models("test_*")
        yield from ((name, model) for model in models)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), list(timm_pairs()))
def test_timm_model(name, model):
    assert check_explainer(name, showing_its_class(model)) is None


class Leaf:
    """An explainer that keeps the contract, but where a test breaks it."""

    TITLE, COST, CLASS_SPECIFIC = "Gradient", "one backward pass", True

    @staticmethod
    def why_not(subject):
        return None

    @staticmethod
    def explain(subject, *, seed):
        return gradient(subject)


def gradient(subject):
    with torch.enable_grad():
        image = subject.image.detach().requires_grad_()
        score = subject.score(subject.network(image, *subject.inputs[1:])).sum()
    return torch.autograd.grad(score, image)[0].abs().sum(dim=1)


def mixing(subject):
    return gradient(subject) * len(subject)


def drawing(subject):
    return gradient(subject) + torch.rand(subject.image.shape[-2:])


def hooking(subject):
    subject.network.register_forward_hook(lambda *_: None)
    return gradient(subject)


def freezing(subject):
    next(subject.network.parameters()).requires_grad_(False)
    return gradient(subject)


def training(subject):
    maps = gradient(subject)
    subject.network.get_classifier().train()
    return maps


def learning(subject):
    with torch.enable_grad():
        subject.score(subject.outputs()).sum().backward()
    return gradient(subject)


def seeding(subject):
    torch.manual_seed(0)
    return gradient(subject)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda subject: gradient(subject)[:1], r"Maps must be \(4, h, w\)"),
        (lambda subject: gradient(subject) / 0, "Maps must be finite"),
        (lambda subject: -gradient(subject), "Maps must be 0 or more"),
        (lambda subject: 0 * gradient(subject) + subject.classes[:, None, None], "must differ from place to place"),
        (lambda subject: gradient(subject.asking(0 * subject.classes)), "Maps of two classes must differ"),
        (mixing, "An image alone must have the map that it has in a batch"),
        (drawing, "An image alone must have the map|A seed must have one map"),
        (hooking, "Nothing may stay behind"),
        (freezing, "Nothing may stay behind"),
        (training, "Nothing may stay behind"),
        (learning, "Nothing may stay behind"),
        (seeding, "Random generators must stay as they were"),
    ],
)
def test_a_broken_explainer_is_found(monkeypatch, broken, message):
    network = create_model("chiron_fair_cnn_nano", num_classes=3, img_size=32, init="scratch", seed=0).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    subject = Subject(network, (images,), torch.tensor([0, 1]), LABELS)
    monkeypatch.setattr("chiron.explanation.contract.load_leaf", lambda *_, **__: Leaf)
    assert check_explainer("gradient", subject) is None
    monkeypatch.setattr(Leaf, "explain", staticmethod(lambda subject, *, seed: broken(subject)))
    with pytest.raises(ExplainError, match=message):
        check_explainer("gradient", subject)
