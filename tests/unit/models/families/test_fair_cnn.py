"""Fair CNN: count, layout, limits."""

import pytest
import timm
import torch
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.families.fair_cnn import FairCNN


@pytest.mark.parametrize(
    ("name", "num_classes", "count"), [("chiron_fair_cnn", 5, 242_181), ("chiron_fair_cnn_nano", 2, 12_042)]
)
def test_parameter_counts(name, num_classes, count):
    assert sum(p.numel() for p in timm.create_model(name, num_classes=num_classes).parameters()) == count


def test_equals_the_layers_written_out():
    torch.manual_seed(0)
    layers = []
    for i, (a, b) in enumerate([(3, 32), (32, 64), (64, 128), (128, 128)]):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i % 2 else []
    plain = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 5)).eval()
    model = timm.create_model("chiron_fair_cnn", num_classes=5).eval()
    model.load_state_dict(dict(zip(model.state_dict(), plain.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 40, 32)
    assert torch.allclose(model(images), plain(images), atol=1e-6)


@pytest.mark.parametrize(("side", "quarter"), [(224, 56), (97, 24)])
def test_shapes(side, quarter):
    model = timm.create_model("chiron_fair_cnn", num_classes=5)
    features = model.forward_features(torch.randn(1, 3, side, side))
    assert features.shape == (1, 128, quarter, quarter)
    assert model.forward_head(features, pre_logits=True).shape == (1, 128)
    assert model.forward_head(features).shape == (1, 5)


def test_an_image_too_small_is_told():
    with pytest.raises(ModelError, match=r"at least 4 pixels a side. Got \(3, 8\)"):
        FairCNN()(torch.zeros(1, 3, 3, 8))


def test_only_global_average_pooling():
    with pytest.raises(ModelError, match=r"must be 'avg'. Got 'max'"):
        FairCNN().reset_classifier(2, "max")
