"""TokenBlock against timm's Block and against the definition of attention."""

from functools import partial

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import nn

from chiron.core.errors import ModelError
from chiron.layers.token_block import SelfAttention, TokenBlock


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_block_equals_timms_with_the_same_weights(qkv_bias):
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = Block(24, num_heads=3, mlp_ratio=2.0, qkv_bias=qkv_bias, norm_layer=norm).double()
    ours = TokenBlock(24, 3, mlp_ratio=2.0, qkv_bias=qkv_bias).double()
    ours.load_state_dict(theirs.state_dict())
    tokens = torch.randn(2, 7, 24, dtype=torch.float64)
    assert (ours(tokens) - theirs(tokens)).abs().max() < 1e-12


@torch.no_grad()
def test_attention_equals_a_naive_loop():
    torch.manual_seed(0)
    layer = SelfAttention(8, 2).double()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    q, k, v = (x[0] @ layer.qkv.weight.T).split(8, dim=-1)
    mixed = torch.zeros(5, 8, dtype=torch.float64)
    for head in range(2):
        columns = slice(4 * head, 4 * head + 4)
        for i in range(5):
            weights = torch.tensor([q[i, columns] @ k[j, columns] / 2 for j in range(5)]).exp()
            mixed[i, columns] = sum(weights[j] / weights.sum() * v[j, columns] for j in range(5))
    expected = mixed @ layer.proj.weight.T + layer.proj.bias
    assert (layer(x)[0] - expected).abs().max() < 1e-9


def test_parameters_of_the_specified_block():
    assert sum(p.numel() for p in TokenBlock(192, 6).parameters()) == 444_288


def test_stochastic_depth_only_in_training():
    torch.manual_seed(0)
    block = TokenBlock(8, 2, drop_path=0.9)
    tokens = torch.randn(64, 3, 8)
    skipped = (block.train()(tokens) == tokens).all(dim=(1, 2))
    assert 0.6 < skipped.float().mean() < 0.95  # 0.81 expected: both residuals dropped
    assert torch.equal(block.eval()(tokens), block(tokens))


def test_width_must_fit_the_heads():
    with pytest.raises(ModelError, match=r"multiple of num_heads. Got width 10 and 3 heads"):
        TokenBlock(10, 3)


def encoder_layer(block):
    """torch's pre-norm layer with the weights and the dropout of a block."""
    layer = nn.TransformerEncoderLayer(
        24,
        3,
        dim_feedforward=48,
        dropout=0.3,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    names = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear": "mlp.fc"}
    state = block.state_dict()
    renamed = {}
    for key in layer.state_dict():
        name = key
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        renamed[key] = state[name]
    layer.load_state_dict(renamed)
    return layer


def test_block_with_dropout_equals_torchs_encoder_layer():
    """In evaluation exactly; in training in mean and spread over many draws."""
    torch.manual_seed(0)
    block = TokenBlock(24, 3, mlp_ratio=2.0, qkv_bias=True, drop_rate=0.3).double()
    layer = encoder_layer(block).double()
    tokens = torch.randn(1, 5, 24, dtype=torch.float64)
    assert (block.eval()(tokens) - layer.eval()(tokens)).abs().max() < 1e-9
    many = tokens.expand(4000, -1, -1)
    with torch.no_grad():
        ours, theirs = block.train()(many), layer.train()(many)
    assert (ours.mean(0) - theirs.mean(0)).abs().max() < 0.05
    assert (ours.std(0) / theirs.std(0) - 1).abs().max() < 0.1
    assert ours.std(0).min() > 0.01


@pytest.mark.parametrize("layer", ["attn", "mlp"])
def test_dropout_only_in_training(layer):
    torch.manual_seed(0)
    part = getattr(TokenBlock(8, 2, drop_rate=0.5), layer)
    tokens = torch.randn(4, 3, 8)
    assert not torch.equal(part.train()(tokens), part(tokens))
    assert torch.equal(part.eval()(tokens), part(tokens))
