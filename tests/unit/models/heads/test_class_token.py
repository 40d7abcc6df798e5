"""class_token: count, shapes at every step, and its parts against torch's."""

from collections import defaultdict

import pytest
import torch
from torch import nn

from chiron.core.errors import ModelError
from chiron.layers.position_code import sinusoidal_position_code
from chiron.models.heads.class_token import ClassTokenHead

SMALL = {"embed_dim": 16, "num_heads": 2, "ffn_dim": 24}


def test_parameter_counts():
    head = ClassTokenHead(1024, 1)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in head.named_children()}
    last = counts["fusion"] + counts["classifier"]
    assert (counts["projection"], counts["blocks"], last) == (525_824, 4_205_568, 525_313)
    assert head.class_token.numel() == 512
    assert sum(p.numel() for p in head.parameters()) == 5_257_217


@pytest.mark.parametrize("places", [49, 25])
def test_shapes_at_every_step(places):
    head, shapes = ClassTokenHead(1024, 1).eval(), defaultdict(list)
    for name in ["projection", "drop", "blocks.0", "blocks.1", "fusion.0", "fusion", "classifier"]:
        head.get_submodule(name).register_forward_hook(
            lambda m, inputs, output, name=name: shapes[name].append(
                (tuple(inputs[0].shape), tuple((output[0] if isinstance(output, tuple) else output).shape))
            )
        )
    with torch.no_grad():
        head(torch.randn(2, places, 1024))
    sequence = (2, places + 1, 512)
    assert shapes == {
        "projection": [((2, places, 1024), (2, places, 512))],
        "drop": [(sequence, sequence)],
        "blocks.0": [(sequence, sequence)],
        "blocks.1": [(sequence, sequence)],
        "fusion.0": [((2, 1024), (2, 512))],
        "fusion": [((2, 1024), (2, 512))],
        "classifier": [((2, 512), (2, 1))],
    }
    _, attn = head.mix(torch.randn(2, places, 1024))
    assert [layer.shape for layer in attn] == [(2, 8, places + 1, places + 1)] * 2


def test_equals_torchs_encoder():
    torch.manual_seed(0)
    head = ClassTokenHead(10, 3, **SMALL).double().eval()
    head.position_code = sinusoidal_position_code(5000, 16)  # the stored code has the precision of fp32
    layer = nn.TransformerEncoderLayer(16, 2, 24, activation="gelu", batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    for ours, theirs in zip(head.blocks, encoder.layers, strict=True):
        theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 9, 10, dtype=torch.float64)
    with torch.no_grad():
        places = nn.functional.layer_norm(
            x @ head.projection[0].weight.T + head.projection[0].bias,
            (16,),
            head.projection[1].weight,
            head.projection[1].bias,
        )
        sequence = torch.cat([head.class_token.repeat(2, 1, 1), places], dim=1) + sinusoidal_position_code(10, 16)
        encoded = encoder(sequence)
        both = torch.cat([encoded[:, 0], sum(encoded[:, n] for n in range(1, 10)) / 9], dim=1)
        hidden = nn.functional.gelu(head.fusion[0](both))
        assert (head(x, pre_logits=True) - hidden).abs().max() <= 1e-9
        assert (head(x) - head.classifier(hidden)).abs().max() <= 1e-9


def test_the_maps_of_the_heads_are_separate():
    torch.manual_seed(0)
    _, attn = ClassTokenHead(32, 2).eval().mix(torch.randn(2, 49, 32))
    for layer in attn:
        assert layer.shape == (2, 8, 50, 50)
        assert (layer.sum(dim=-1) - 1).abs().max() < 1e-5
        for a in range(8):
            for b in range(a):
                assert (layer[:, a] - layer[:, b]).abs().max() > 1e-3


def test_order_of_the_places_matters():
    torch.manual_seed(0)
    head, x = ClassTokenHead(10, 3, **SMALL).eval(), torch.randn(1, 9, 10)
    assert (head(x) - head(x.flip(1))).abs().max() > 1e-4


def test_everything_learns():
    torch.manual_seed(0)
    head = ClassTokenHead(10, 3, **SMALL)
    head(torch.randn(4, 9, 10)).square().sum().backward()
    assert all(p.grad.any() for p in head.parameters())


def test_dropout_stands_at_all_places():
    head = ClassTokenHead(10, 3, **SMALL)
    assert [layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)] == [0.2] * 6


def test_too_many_places_are_told():
    with pytest.raises(ModelError, match=r"5000 at most. Got 5042. Use a smaller img_size"):
        ClassTokenHead(2, 2, **SMALL)(torch.zeros(1, 71 * 71, 2))


def test_class_token_does_not_decay():
    assert ClassTokenHead(2, 2, **SMALL).no_weight_decay() == {"class_token"}
