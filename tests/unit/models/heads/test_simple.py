"""simple: count, first weights, and the layers written out."""

import pytest
import torch
from torch import nn

from chiron.models.heads.simple import SimpleHead


def test_parameter_count():
    assert sum(p.numel() for p in SimpleHead(1280, 7).parameters()) == 790_535


def test_equals_its_layers_written_out():
    torch.manual_seed(0)
    head = SimpleHead(20, 3).double()
    for buffer in head.buffers():
        if buffer.dtype == torch.float64:
            buffer.uniform_(0.5, 2)
    x = vector = torch.randn(4, 20, dtype=torch.float64)
    for linear, norm in [(head.layers[1], head.layers[2]), (head.layers[5], head.layers[6])]:
        x = x @ linear.weight.T + linear.bias
        x = (x - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
        x = x.clamp_min(0)
    expected = x @ head.classifier.weight.T + head.classifier.bias
    assert (head.eval()(vector) - expected).abs().max() <= 1e-9
    assert (head(vector, pre_logits=True) - x).abs().max() <= 1e-9


@pytest.mark.parametrize("drop_rate", [0.35, 0.1])
def test_drops_at_three_places(drop_rate):
    rates = [layer.p for layer in SimpleHead(8, 2, drop_rate=drop_rate).modules() if isinstance(layer, nn.Dropout)]
    assert rates == [drop_rate] * 3
    assert [layer.p for layer in SimpleHead(8, 2).modules() if isinstance(layer, nn.Dropout)] == [0.35] * 3


def test_first_weights_are_kaimings_by_fan_out():
    torch.manual_seed(0)
    head = SimpleHead(1280, 7)
    head.reset_classifier(40)
    for linear, fan_out in [(head.layers[1], 512), (head.layers[5], 256), (head.classifier, 40)]:
        assert linear.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)
        assert not linear.bias.any()
