"""The map layer is found by itself, told when there is none, and remembered without keeping the network alive."""

import gc
import weakref

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from chiron.core.errors import ExplainError
from chiron.explanation.explain import maps_of
from chiron.explanation.map_layer import MapLayer, activations_and_gradients, find_map_layer, why_no_map_layer
from chiron.explanation.subject import Subject
from chiron.spec.labels import LabelSpace

LABELS = LabelSpace(names=("a", "b", "c"))
ONE_LOGIT = LabelSpace(names=("sick", "well"), positive="sick", one_logit=True)


def subject_of(network: nn.Module, *size: int, labels: LabelSpace = LABELS, classes=(0,)) -> Subject:
    images = torch.randn(len(classes), 3, *size, generator=torch.Generator().manual_seed(0))
    return Subject(network.eval(), (images,), torch.tensor(classes), labels)


def vit(**options) -> VisionTransformer:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    return VisionTransformer(**(sizes | options))


@pytest.mark.parametrize(
    ("network", "size", "expected"),
    [
        (lambda: timm.create_model("test_resnet", num_classes=3), (64, 96), MapLayer("layer4", "maps", (2, 3))),
        (
            lambda: timm.create_model("test_mambaout", num_classes=3),
            (64, 64),
            MapLayer("stages", "channels_last", (2, 2)),
        ),
        (
            lambda: timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, img_size=64, depths=(1, 1)),
            (64, 64),
            MapLayer("norm", "channels_last", (8, 8)),
        ),
        (vit, (32, 32), MapLayer("blocks.1.norm1", "tokens", (4, 4), 1)),
        (lambda: vit(global_pool="avg", class_token=False), (32, 32), MapLayer("norm", "tokens", (4, 4), 0)),
        # 5 tokens before a grid of 2 x 2 are 9 in all, and no grid of 3 x 3
        (lambda: vit(img_size=16, reg_tokens=4), (16, 16), MapLayer("blocks.1.norm1", "tokens", (2, 2), 5)),
        (lambda: vit(img_size=(16, 48)), (16, 48), MapLayer("blocks.1.norm1", "tokens", (2, 6), 1)),
    ],
    ids=["cnn", "channels last", "swin", "class token", "mean of tokens", "registers", "wide"],
)
def test_layer_is_found(network, size, expected):
    layer = find_map_layer(subject_of(network(), *size))
    assert (layer.layout, layer.grid, layer.prefix) == (expected.layout, expected.grid, expected.prefix)
    assert layer.name == expected.name


def test_after_the_last_block_the_patch_tokens_have_no_gradient():
    """The trap that the search goes round."""
    subject = subject_of(vit(), 32, 32)
    for name, dead in [("blocks.1", True), ("norm", True), ("blocks.1.norm1", False)]:
        _, gradients = activations_and_gradients(subject, MapLayer(name, "tokens", (4, 4), 1))
        assert bool((gradients == 0).all()) == dead


def test_search_happens_once_a_size_and_keeps_nothing_alive():
    network, passes = timm.create_model("test_resnet", num_classes=3), []
    with network.register_forward_pre_hook(lambda *_: passes.append(1)):
        for size in (64, 64, 96, 64, 96):
            find_map_layer(subject_of(network, size, size))
    assert len(passes) == 2
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_another_network_is_searched_anew():
    assert find_map_layer(subject_of(vit(), 32, 32)).name == "blocks.1.norm1"
    assert find_map_layer(subject_of(vit(depth=3), 32, 32)).name == "blocks.2.norm1"


def test_a_network_without_places_is_refused():
    subject = subject_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)), 16, 16)
    assert "needs a layer with places. Got Sequential without one" in str(why_no_map_layer(subject))
    with pytest.raises(ExplainError, match=r"grad_cam must fit the network\. .* occlusion or integrated_gradients"):
        maps_of([subject], "grad_cam")


def test_a_score_that_depends_on_no_place_is_told():
    network = timm.create_model("test_resnet", num_classes=3)
    nn.init.zeros_(network.get_classifier().weight)
    with pytest.raises(ExplainError, match=r"gradient of 0 at every place of .*layer4 in ResNet"):
        find_map_layer(subject_of(network, 64, 64))
    nn.init.ones_(network.get_classifier().weight)  # a failed search is not remembered
    assert find_map_layer(subject_of(network, 64, 64)).name == "layer4"


class Brightness(nn.Module):
    """One logit: three times the mean of the rectified image, which can only speak for the positive class."""

    def __init__(self):
        super().__init__()
        self.features = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images):
        return self.pool(self.features(images)).sum(dim=1).flatten(1)


def test_a_map_of_zeros_says_that_no_place_speaks_for_the_class():
    subject = subject_of(Brightness(), 8, 8, labels=ONE_LOGIT, classes=(0, 1))
    assert maps_of([subject.rows(torch.tensor([0]))], "grad_cam").max() > 0
    with pytest.raises(ExplainError, match=r"from grad_cam for image 1 of the batch zeros everywhere: no place speaks"):
        maps_of([subject], "grad_cam")


def test_a_map_of_one_value_says_that_no_place_stands_out():
    subject = subject_of(Brightness(), 8, 8, labels=ONE_LOGIT, classes=(0, 0))
    flat = subject.showing(torch.stack([subject.image[0], torch.full((3, 8, 8), 0.3)]))
    with pytest.raises(ExplainError, match=r"for image 1 of the batch the same value everywhere: no place stands out"):
        maps_of([flat], "feature_maps")
