"""Class-activation maps equal pytorch-grad-cam's, on a convolutional network and on one with a class token."""

from functools import cache

import numpy as np
import pytest
import pytorch_grad_cam
import timm
import torch
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction

from chiron.core.registry import load_leaf
from chiron.explanation import subject as subject_module
from chiron.explanation.explain import EXPLAINERS
from chiron.explanation.explainers import eigen_cam, feature_maps, grad_cam, hires_cam, score_cam
from chiron.explanation.map_layer import activations, find_map_layer
from chiron.explanation.subject import Subject
from chiron.spec.labels import LabelSpace

LABELS = {
    "three": LabelSpace(names=("a", "b", "c")),
    "several": LabelSpace(kind="multi_label", names=("a", "b", "c")),
    "one logit": LabelSpace(names=("a", "b"), positive="a", one_logit=True),
}
ORACLES = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "layer_cam": pytorch_grad_cam.LayerCAM,
    "score_cam": pytorch_grad_cam.ScoreCAM,
}
LAST = {"resnet18": "layer4", "vit_tiny_patch16_224": "blocks.11.norm1"}
SMALL = {"test_resnet": "layer4", "test_vit": "blocks.5.norm1"}


@cache
def build(name: str, kind: str = "three", *, size: int = 64, sharp: float = 1.0) -> Subject:
    """Random weights, the classifier's `sharp` times as large; two images of soft blobs, of classes 0 and 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"img_size": size} if "vit" in name else {}
        network = timm.create_model(name, num_classes=LABELS[kind].num_outputs, **options).eval()
        noise = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        network.get_classifier().weight *= sharp
    images = torch.nn.functional.interpolate(2 * noise, size=(size, size), mode="bilinear")
    return Subject(network, (images,), torch.tensor([0, 1]), LABELS[kind])


def as_grid(tokens: torch.Tensor) -> torch.Tensor:
    side = int((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)


def by_pytorch_grad_cam(oracle, subject: Subject, layer: str) -> np.ndarray:
    """Its maps before it scales them."""
    network = subject.network
    transform = as_grid if "blocks" in layer else None
    targets = [lambda out, k=k: subject.rows(torch.tensor([k])).score(out[None])[0] for k in range(len(subject))]
    with oracle(network, [network.get_submodule(layer)], reshape_transform=transform) as cam:
        cam.batch_size = 64
        outputs = cam.activations_and_grads(subject.image)
        sum(target(out) for target, out in zip(targets, outputs, strict=True)).backward()
        record = cam.activations_and_grads
        seen, gradients = record.activations[0].numpy(), record.gradients[0].numpy()
        made = cam.get_cam_image(subject.image, cam.target_layers[0], targets, seen, gradients, False)
    return np.maximum(made, 0)


@pytest.mark.parametrize(
    ("kind", "sharp"), [("three", 1), ("several", 1), ("one logit", 300)], ids=["three", "several", "large gradients"]
)
@pytest.mark.parametrize("name", LAST)
@pytest.mark.parametrize("method", [method for method in ORACLES if method != "score_cam"])
def test_equals_pytorch_grad_cam(method, name, kind, sharp):
    subject = build(name, kind, size=96, sharp=sharp)
    leaf = load_leaf(EXPLAINERS, method, kind="explainer")
    for classes in ([0, 1], [1, 0]):
        asked = subject.asking(torch.tensor(classes))
        expected = by_pytorch_grad_cam(ORACLES[method], asked, LAST[name])
        assert expected.max() > 0
        np.testing.assert_allclose(leaf.explain(asked).numpy(), expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LAST)])
def test_score_cam_equals_pytorch_grad_cam(name):
    subject = build(name, sharp=10)
    expected = by_pytorch_grad_cam(ORACLES["score_cam"], subject, (LAST | SMALL)[name])
    assert expected.reshape(2, -1).max(axis=1).min() > 0
    np.testing.assert_allclose(score_cam.explain(subject).numpy(), expected, rtol=0, atol=1e-5 * expected.max())


def test_score_cam_stays_within_its_memory_bound(monkeypatch):
    subject = build("test_resnet.r160_in1k")
    whole, sizes = score_cam.explain(subject), []
    monkeypatch.setattr(subject_module, "PIXELS_AT_ONCE", 7 * 64 * 64 + 1)
    with subject.network.conv1[0].register_forward_pre_hook(lambda layer, inputs: sizes.append(len(inputs[0]))):
        torch.testing.assert_close(score_cam.explain(subject), whole, rtol=1e-4, atol=1e-6)
    assert max(sizes) == 7
    assert sum(sizes[1:]) == 2 * subject.network.num_features  # one pass for the maps, then a mask a channel


@pytest.mark.parametrize("name", LAST)
def test_eigen_cam_equals_the_first_component_with_its_sign(name):
    subject = build(name, size=96)
    seen = activations(subject, find_map_layer(subject)).numpy()
    expected = np.maximum(get_2d_projection_with_sign_correction(seen), 0)
    np.testing.assert_allclose(eigen_cam.explain(subject).numpy(), expected, rtol=0, atol=1e-5 * expected.max())
    turned = np.maximum(get_2d_projection_with_sign_correction(-seen), 0)  # the sign is of the map, not of the features
    np.testing.assert_allclose(turned, expected, rtol=0, atol=1e-5 * expected.max())


def test_hires_cam_is_grad_cam_where_the_head_is_a_mean_and_a_matrix():
    """Draelos and Carin, section 3: gradients are then the same at every place."""
    subject = build("resnet18")
    torch.testing.assert_close(hires_cam.explain(subject), grad_cam.explain(subject), rtol=1e-5, atol=1e-7)
    tokens = build("vit_tiny_patch16_224")
    assert not torch.allclose(hires_cam.explain(tokens), grad_cam.explain(tokens), rtol=0.1)


def test_feature_maps_are_the_mean_over_channels():
    subject = build("resnet18", size=96)
    with torch.no_grad():
        features = subject.network.forward_features(subject.image)
    torch.testing.assert_close(feature_maps.explain(subject), features.mean(dim=1))
    signed = build("vit_tiny_patch16_224")
    seen = activations(signed, find_map_layer(signed))
    assert (seen < 0).any()
    torch.testing.assert_close(feature_maps.explain(signed), seen.clamp(min=0).mean(dim=1))


def test_stage_maps_are_what_the_stages_give():
    subject = build("resnet18")
    maps = feature_maps.stage_maps(subject)
    shapes = {stage: tuple(it.shape) for stage, it in maps.items()}
    assert shapes == {
        "stem": (2, 64, 32, 32),
        "stage1": (2, 64, 16, 16),
        "stage2": (2, 128, 8, 8),
        "stage3": (2, 256, 4, 4),
        "stage4": (2, 512, 2, 2),
    }
    with torch.no_grad():
        torch.testing.assert_close(maps["stage4"], subject.network.forward_features(subject.image))
    tokens = feature_maps.stage_maps(build("vit_tiny_patch16_224"))
    assert {tuple(it.shape) for it in tokens.values()} == {(2, 192, 4, 4)}
