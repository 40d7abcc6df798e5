"""Attention with weights against torch's own and a naive loop."""

import math

import torch
import torch.nn.functional as F

from chiron.layers.attention import attend


def test_equals_torch_and_weights_equal_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, 2, 3, 6, 5, generator=generator, dtype=torch.float64)
    mixed, weights = attend(q, k, v)
    torch.testing.assert_close(mixed, F.scaled_dot_product_attention(q, k, v), rtol=0, atol=1e-12)
    for b, h, i in [(0, 0, 0), (1, 2, 3)]:
        scores = [math.exp(sum(q[b, h, i] * k[b, h, j]) / math.sqrt(5)) for j in range(6)]
        naive = torch.tensor([score / sum(scores) for score in scores], dtype=torch.float64)
        torch.testing.assert_close(weights[b, h, i], naive, rtol=0, atol=1e-12)


def test_dropout_changes_the_mix_and_not_the_weights():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 8, 4)
    mixed, weights = attend(q, k, v)
    dropped, same = attend(q, k, v, drop_rate=0.5)
    assert not torch.allclose(mixed, dropped)
    assert torch.equal(weights, same)
    none, _ = attend(q, k, v, drop_rate=1.0)
    assert not none.any()
