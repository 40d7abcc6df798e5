"""acrnn: count, loops, and what each reading learns."""

import pytest
import torch

from chiron.models.heads.acrnn import ACRNNHead


@pytest.mark.parametrize("sequence", [False, True])
def test_parameter_count(sequence):
    assert sum(p.numel() for p in ACRNNHead(1280, 7, sequence=sequence).parameters()) == 547_575


def by_hand(head, tokens):
    """The head on (n, d) tokens: convolution, LSTM and attention as loops over steps."""
    steps, kernel = len(tokens), head.conv.weight
    padded = torch.cat([torch.zeros_like(tokens[:1]), tokens, torch.zeros_like(tokens[:1])])
    conv = [
        (sum(kernel[:, :, k] @ padded[n + k] for k in range(3)) + head.conv.bias).clamp_min(0) for n in range(steps)
    ]
    hidden = cell = torch.zeros(64, dtype=tokens.dtype)
    states = []
    for x in conv:
        gates = head.lstm.weight_ih_l0 @ x + head.lstm.bias_ih_l0 + head.lstm.weight_hh_l0 @ hidden
        enter, forget, new, out = (gates + head.lstm.bias_hh_l0).chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        states.append(hidden)
    scores = torch.stack([(head.attention.score.weight @ state) @ hidden for state in states])
    weights = torch.exp(scores) / torch.exp(scores).sum()
    context = sum(weight * state for weight, state in zip(weights, states, strict=True))
    vector = torch.tanh(head.proj.weight @ torch.cat([context, hidden]))
    return head.classifier.weight @ vector + head.classifier.bias, weights


@pytest.mark.parametrize("sequence", [False, True])
def test_equals_a_naive_loop(sequence):
    torch.manual_seed(0)
    head = ACRNNHead(10, 3, sequence=sequence).double()
    torch.nn.init.normal_(head.attention.score.weight)  # torch's draw makes nearly even weights
    x = torch.randn(2, 6, 10, dtype=torch.float64) if sequence else torch.randn(2, 10, dtype=torch.float64)
    logits, (attn,) = head(x), head.mix(x)[1]
    assert attn.shape == (2, 1, 1, 6 if sequence else 1)
    for b in range(2):
        expected, weights = by_hand(head, x[b] if sequence else x[b : b + 1])
        assert (logits[b] - expected).abs().max() <= 1e-9
        assert (attn[b, 0, 0] - weights).abs().max() <= 1e-9
    assert (attn.sum(dim=-1) - 1).abs().max() <= 1e-9
    assert not sequence or attn.std() > 1e-3


def gradients(head, x):
    head(x).square().sum().backward()
    return {name: parameter.grad for name, parameter in head.named_parameters()}


def test_a_sequence_of_one_leaves_much_unlearned():
    torch.manual_seed(0)
    head = ACRNNHead(10, 3, sequence=False)
    x = torch.randn(4, 10)
    grads = gradients(head, x)
    dead = {name for name, grad in grads.items() if not grad.any()}
    assert dead == set(head.parameters_not_learned) == {"lstm.weight_hh_l0", "attention.score.weight"}
    assert [bool(grads["conv.weight"][:, :, k].any()) for k in range(3)] == [False, True, False]
    assert head.mix(x)[1][0].flatten().tolist() == [1.0] * 4


def test_a_sequence_of_places_learns_everything():
    torch.manual_seed(0)
    head = ACRNNHead(10, 3)
    grads = gradients(head, torch.randn(4, 49, 10))
    assert head.parameters_not_learned == ()
    assert all(grad.any() for grad in grads.values())
    assert all(grads["conv.weight"][:, :, k].any() for k in range(3))
