"""Attention over steps against loops."""

import torch

from chiron.layers.step_attention import StepAttention


def test_equals_a_naive_loop():
    torch.manual_seed(0)
    layer = StepAttention(5).double()
    states = torch.randn(2, 4, 5, dtype=torch.float64)
    together, weights = layer(states)
    for b in range(2):
        last = states[b, 3]
        scores = []
        for n in range(4):
            projected = [sum(layer.score.weight[i, j] * states[b, n, j] for j in range(5)) for i in range(5)]
            scores.append(sum(projected[i] * last[i] for i in range(5)))
        powers = [torch.exp(score) for score in scores]
        for n in range(4):
            assert abs(weights[b, n] - powers[n] / sum(powers)) <= 1e-9
        for i in range(5):
            context = sum(powers[n] / sum(powers) * states[b, n, i] for n in range(4))
            assert abs(together[b, i] - context) <= 1e-9
            assert together[b, 5 + i] == last[i]


def test_one_step_has_all_the_weight():
    _, weights = StepAttention(3)(torch.randn(2, 1, 3))
    assert weights.tolist() == [[1.0], [1.0]]


def test_weights_are_exact_under_bf16():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        together, weights = StepAttention(8)(torch.randn(1, 7, 8).bfloat16())
    assert weights.dtype == torch.float32
    assert abs(weights.sum().item() - 1) < 1e-6
    assert together.dtype == torch.bfloat16
