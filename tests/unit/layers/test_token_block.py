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
