"""The post-norm block against torch's own encoder layer."""

import pytest
import torch
from torch import nn

from chiron.core.errors import ModelError
from chiron.layers.post_norm_block import HeadwiseAttention, PostNormBlock


def test_equals_torchs_encoder_layer_with_its_tensors():
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(32, 4, 48, activation="gelu", batch_first=True).double().eval()
    ours = PostNormBlock(32, 4, ffn_dim=48).double().eval()
    for parameter in theirs.parameters():  # biases and norms start at 0 and 1, which would hide a swap
        nn.init.normal_(parameter, std=0.3)
    assert ours.load_state_dict(theirs.state_dict())
    tokens = torch.randn(2, 7, 32, dtype=torch.float64)
    with torch.no_grad():
        mixed, weights = ours(tokens)
        _, expected = theirs.self_attn(tokens, tokens, tokens, average_attn_weights=False)
        assert (mixed - theirs(tokens)).abs().max() <= 1e-9
    assert (weights - expected).abs().max() <= 1e-6  # ours are made in fp32 at least
    assert weights.shape == (2, 4, 7, 7)
    assert (weights[:, 0] - weights[:, 1]).abs().max() > 0.01, "the heads must stay apart"


def test_starts_as_torchs_attention_does():
    layer = HeadwiseAttention(64, 4)
    bound = (6 / (64 + 3 * 64)) ** 0.5
    assert layer.in_proj_weight.abs().max() <= bound
    assert layer.in_proj_weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not layer.in_proj_bias.any()
    assert not layer.out_proj.bias.any()


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    block = PostNormBlock(16, 2, ffn_dim=16, drop_rate=0.5)
    tokens = torch.randn(1, 5, 16)
    assert not torch.equal(block(tokens)[0], block(tokens)[0])
    assert not torch.equal(block.self_attn(tokens)[0], block.self_attn(tokens)[0])
    block.eval()
    assert torch.equal(block(tokens)[0], block(tokens)[0])


def test_heads_must_divide_the_width():
    with pytest.raises(ModelError, match="Got width 10 and 4 heads"):
        PostNormBlock(10, 4, ffn_dim=8)
