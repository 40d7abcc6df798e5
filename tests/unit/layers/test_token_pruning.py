"""Token pruning: gate and scores against a naive loop, what is kept, and tokens put back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiron.layers.token_pruning import HierarchicalSE, keep_top, scatter_tokens, token_importance


def test_hierarchical_se_equals_a_naive_loop():
    torch.manual_seed(0)
    layer = HierarchicalSE(32, reduction=16).double().eval()
    tokens = torch.randn(2, 6, 32, dtype=torch.float64)
    first, second = layer.gate[0], layer.gate[3]
    gated, scores = layer(tokens)
    importance = token_importance(scores)
    for b in range(2):
        mean = sum(tokens[b, n] for n in range(6)) / 6
        hidden = torch.stack([first.weight[h] @ mean + first.bias[h] for h in range(2)])
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        gate = torch.stack([1 / (1 + torch.exp(-(second.weight[d] @ hidden + second.bias[d]))) for d in range(32)])
        lengths = []
        for n in range(6):
            vector = [tokens[b, n, d] * gate[d] for d in range(32)]
            assert max(abs(gated[b, n, d] - vector[d]) for d in range(32)) <= 1e-9
            lengths.append(sum(value**2 for value in vector) ** 0.5)
        mean_length = sum(lengths) / 6
        deviation = (sum((length - mean_length) ** 2 for length in lengths) / 6) ** 0.5
        powers = [torch.exp((length - mean_length) / (deviation + 1e-6)) for length in lengths]
        for n in range(6):
            assert abs(scores[b, n] - lengths[n]) <= 1e-9
            assert abs(importance[b, n] - powers[n] / sum(powers)) <= 1e-9


def test_gate_drops_hidden_values_in_training_alone():
    layer = HierarchicalSE(32)
    assert isinstance(layer.gate[2], torch.nn.Dropout)  # between GELU and the second linear layer
    assert layer.gate[2].p == 0.05
    torch.manual_seed(0)
    layer, tokens = HierarchicalSE(32, drop_rate=0.5), torch.randn(1, 4, 32)
    assert not torch.equal(layer(tokens)[1], layer(tokens)[1])
    layer.eval()
    assert torch.equal(layer(tokens)[1], layer(tokens)[1])


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=49, unique_by=lambda x: round(x, 3)))
def test_importance_ranks_as_the_norm_does(norms):
    scores = torch.tensor([norms], dtype=torch.float64)
    importance = token_importance(scores)
    assert torch.equal(importance.argsort(), scores.argsort())
    assert importance.sum().item() == pytest.approx(1)


def test_importance_of_one_or_of_equal_tokens_is_even():
    assert token_importance(torch.tensor([[3.0]])).tolist() == [[1.0]]
    assert token_importance(torch.full((1, 4), 2.0)).tolist() == [[0.25] * 4]


def test_keep_top_takes_the_highest_and_gives_scores_no_gradient():
    tokens = torch.arange(8.0).reshape(1, 4, 2).requires_grad_()
    scores = torch.tensor([[0.1, 3.0, 2.0, 0.2]], requires_grad=True)
    kept, indices = keep_top(tokens, scores, 2)
    assert indices.tolist() == [[1, 2]]
    assert kept.tolist() == [[[2.0, 3.0], [4.0, 5.0]]]
    kept.sum().backward()
    assert scores.grad is None
    assert tokens.grad[0, :, 0].tolist() == [0, 1, 1, 0]


def test_scores_are_exact_under_bf16():
    layer = HierarchicalSE(32).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, scores = layer(torch.randn(1, 4, 32).bfloat16())
    assert scores.dtype == torch.float32


@given(st.permutations(range(7)), st.integers(1, 7))
def test_scattered_tokens_stand_where_they_stood(order, num_keep):
    tokens = torch.arange(1.0, 15.0).reshape(1, 7, 2)
    scores = torch.tensor([order], dtype=torch.float32)
    kept, indices = keep_top(tokens, scores, num_keep)
    back = scatter_tokens(kept, indices, 7)
    for n in range(7):
        expected = tokens[0, n] if order[n] >= 7 - num_keep else torch.zeros(2)
        assert torch.equal(back[0, n], expected)
