"""First weights: which layers are drawn, and how."""

import torch
from torch import nn

from chiron.layers.initial import draw_normal


def test_convolutions_and_linear_layers_are_drawn_and_norms_stay():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 64, 7), nn.BatchNorm2d(64), nn.Linear(64, 512), nn.Linear(8, 8, bias=False))
    before = network[1].weight.clone()
    network.apply(draw_normal)
    for layer in (network[0], network[2]):
        assert abs(layer.weight.std().item() - 0.02) < 0.001
        assert not layer.bias.any()
    assert torch.equal(network[1].weight, before)
