"""GALA: every equation against a loop, the running score, and the layers against torch's and timm's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from timm.models.vision_transformer import Block
from torch import nn

from chiron.layers.gala import (
    CodeStage,
    CorrectedStage,
    RunningScore,
    SeenAttention,
    grid_gradient,
    grid_neighbors,
    importance,
    keep_strongest,
    line_gradient,
    smooth_grid,
    smooth_line,
    standardize,
    token_gate,
)

EXACT = 1e-9


def noise(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_keys", [1, 2, 7])
def test_line_gradient_equals_a_loop(num_keys):
    field = noise(2, 5, num_keys)
    got = line_gradient(field)
    for b in range(2):
        for k in range(num_keys):
            after, before = min(k + 1, num_keys - 1), max(k - 1, 0)
            wanted = sum(abs(field[b, q, after] - field[b, q, before]) / 2 for q in range(5))
            assert abs(got[b, k] - wanted) <= EXACT


def test_smooth_line_equals_torchs_convolution():
    score, kernel = noise(3, 9), torch.tensor([0.2, -1.5, 0.7], dtype=torch.float64)
    wanted = F.conv1d(score.unsqueeze(1), kernel.reshape(1, 1, 3), padding=1).squeeze(1)
    assert (smooth_line(score, kernel) - wanted).abs().max() <= EXACT


def naive_neighbors(places, grid):
    slots = {place: slot for slot, place in enumerate(places)}
    found = []
    for down, right in [(0, -1), (0, 1), (-1, 0), (1, 0)]:
        line = []
        for own, place in enumerate(places):
            row, column = place // grid[1] + down, place % grid[1] + right
            inside = 0 <= row < grid[0] and 0 <= column < grid[1]
            line.append(slots.get(row * grid[1] + column, own) if inside else own)
        found.append(line)
    return found


@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_neighbors_equal_a_loop(rows, columns, data):
    count = data.draw(st.integers(1, rows * columns))
    images = [sorted(data.draw(st.permutations(range(rows * columns)))[:count]) for _ in range(2)]
    got = grid_neighbors(torch.tensor(images), (rows, columns))
    assert got.tolist() == [naive_neighbors(places, (rows, columns)) for places in images]


def test_a_neighbor_that_is_gone_or_off_the_grid_is_the_token_itself():
    # . x x      slots: 0 at (0, 1), 1 at (0, 2), 2 at (1, 0)
    # x . .
    left, right, above, below = grid_neighbors(torch.tensor([[1, 2, 3]]), (2, 3))[0].tolist()
    assert left == [0, 0, 2]
    assert right == [1, 1, 2]
    assert above == below == [0, 1, 2]


def test_grid_gradient_equals_a_loop():
    places, grid = [[0, 1, 2, 5, 6, 9, 11], [1, 2, 3, 4, 6, 7, 10]], (3, 4)
    field = noise(2, 5, 7)
    got = grid_gradient(field, grid_neighbors(torch.tensor(places), grid))
    for b in range(2):
        left, right, above, below = naive_neighbors(places[b], grid)
        for k in range(7):
            wanted = sum(
                abs(f[right[k]] - f[left[k]]) / 2 + abs(f[below[k]] - f[above[k]]) / 2 for f in field[b].tolist()
            )
            assert abs(got[b, k] - wanted) <= EXACT


def test_grid_gradient_inside_a_whole_grid_is_numpys():
    field = noise(1, 1, 20)
    dy, dx = np.gradient(field.reshape(4, 5).numpy())
    got = grid_gradient(field, grid_neighbors(torch.arange(20).unsqueeze(0), (4, 5))).reshape(4, 5).numpy()
    assert np.abs(got - np.abs(dx) - np.abs(dy))[1:-1, 1:-1].max() <= EXACT


def test_grid_gradient_sees_no_edge_where_the_line_has_one():
    ramp = torch.arange(5.0).repeat(4).reshape(1, 1, 20)  # rises along each row
    across = grid_gradient(ramp, grid_neighbors(torch.arange(20).unsqueeze(0), (4, 5)))
    assert across[0].tolist() == [0.5, 1, 1, 1, 0.5] * 4
    assert line_gradient(ramp)[0, 4:6].tolist() == [1.5, 1.5]  # the jump from a row's end to the next row


def test_smooth_grid_equals_a_loop():
    places, grid = [[0, 1, 4, 5, 8], [2, 3, 5, 6, 7]], (3, 3)
    score, kernel = noise(2, 5), torch.tensor([0.5, -0.1, 0.3, 0.2, 0.9], dtype=torch.float64)
    got = smooth_grid(score, grid_neighbors(torch.tensor(places), grid), kernel)
    for b in range(2):
        around = naive_neighbors(places[b], grid)
        for k in range(5):
            wanted = kernel[0] * score[b, k] + sum(kernel[1 + d] * score[b, around[d][k]] for d in range(4))
            assert abs(got[b, k] - wanted) <= EXACT


def test_standardize_equals_a_loop():
    score = noise(2, 9)
    got = standardize(score)
    for b in range(2):
        mean = sum(score[b]) / 9
        deviation = (sum((value - mean) ** 2 for value in score[b]) / 9) ** 0.5
        for k in range(9):
            assert abs(got[b, k] - (score[b, k] - mean) / (deviation + 1e-6)) <= EXACT


def test_standardized_scores_of_equal_tokens_are_zero():
    assert standardize(torch.full((1, 4), 2.0)).tolist() == [[0.0] * 4]
    assert standardize(torch.tensor([[3.0]])).tolist() == [[0.0]]


def test_importance_is_the_patches_share_of_the_softmax_over_all_tokens():
    scores = standardize(noise(2, 9))
    got = importance(scores[:, 1:])
    for b in range(2):
        powers = [torch.exp(value / 0.1) for value in scores[b]]
        shares = [power / sum(powers) for power in powers]
        for k in range(1, 9):
            assert abs(got[b, k - 1] - shares[k] / sum(shares[1:])) <= EXACT


def test_importance_stays_apart_where_one_token_takes_all():
    scores = standardize(torch.tensor([[1000.0, *range(196)]]))[:, 1:]
    assert torch.equal(importance(scores).argmax(dim=-1), torch.tensor([195]))
    assert importance(scores).sum().item() == pytest.approx(1)


def test_running_score_equals_a_loop():
    running = RunningScore(4).double().train()
    batches = [(noise(2, 4), [[0, 1, 2, 3]] * 2), (noise(3, 2, seed=1), [[0, 1], [1, 3], [0, 3]])]
    batches += [(noise(1, 3, seed=2), [[0, 2, 3]])]
    past = {}
    for score, places in batches:
        got = running(score, torch.tensor(places))
        for place in range(4):
            here = [score[b, line.index(place)] for b, line in enumerate(places) if place in line]
            if here:
                mean = sum(here) / len(here)
                past[place] = 0.9 * past[place] + 0.1 * mean if place in past else mean
        for b, line in enumerate(places):
            for k, place in enumerate(line):
                assert abs(got[b, k] - 0.5 * (score[b, k] + past[place])) <= EXACT
    assert (running.mean - torch.stack([past[place] for place in range(4)])).abs().max() <= EXACT


def test_running_score_is_set_by_the_first_batch_that_has_the_place():
    running = RunningScore(3)
    running(torch.tensor([[2.0, 4.0]]), torch.tensor([[0, 2]]))
    assert running.mean.tolist() == [2.0, 0.0, 4.0]
    assert running.seen.tolist() == [True, False, True]


def test_running_score_rests_in_evaluation_and_gets_no_gradient():
    running, places = RunningScore(3), torch.arange(3).unsqueeze(0)
    score = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    running(score, places).sum().backward()
    assert score.grad.tolist() == [[0.5, 0.5, 0.5]]
    before = {name: tensor.clone() for name, tensor in running.state_dict().items()}
    assert torch.equal(running.eval()(2 * score, places), 2 * score)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), running.state_dict().values(), strict=True))
    assert set(before) == {"mean", "seen"}


@pytest.mark.parametrize("bias", [False, True])
def test_attention_equals_torchs(bias):
    torch.manual_seed(0)
    ours = SeenAttention(12, 3, bias=bias).double()
    theirs = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True).double()
    names = {"qkv.weight": "in_proj_weight", "qkv.bias": "in_proj_bias"}
    state = {names.get(k, k.replace("proj.", "out_proj.")): v for k, v in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x = noise(2, 7, 12)
    tokens, weights = theirs(x, x, x, average_attn_weights=False)
    got = ours(x)
    assert (got[0] - tokens).abs().max() <= EXACT
    assert (got[1] - weights).abs().max() <= EXACT


def test_the_strongest_stay_in_their_old_order_behind_cls():
    x = torch.arange(10.0).reshape(1, 5, 2)
    kept, slots = keep_strongest(x, torch.tensor([[0.1, 3.0, 0.2, 7.0]]), 2)
    assert slots.tolist() == [[1, 3]]
    assert kept.tolist() == [[[0.0, 1.0], [4.0, 5.0], [8.0, 9.0]]]


@given(st.lists(st.floats(-4, 14), min_size=1, max_size=20))
def test_gates_are_one_on_average_and_rise_with_the_score(scores):
    score = torch.tensor([scores], dtype=torch.float64)
    gate = token_gate(score)[0, :, 0]
    assert gate[0] == 1
    assert gate[1:].mean().item() == pytest.approx(1)
    ranked = gate[1:][score[0].argsort()]
    assert bool((ranked.diff() >= 0).all())
    wanted = [1 / (1 + np.exp(-s)) for s in scores]
    assert gate[1:].tolist() == pytest.approx([w / np.mean(wanted) for w in wanted], abs=EXACT)


def test_code_stage_is_bare_attention_and_scores_the_line_with_cls():
    torch.manual_seed(0)
    stage = CodeStage(12, 3, num_tokens=6).double().eval()
    x = noise(2, 7, 12)
    tokens, weights, score = stage(x)
    assert torch.equal(tokens, stage.attn(x)[0])
    mean = weights.mean(dim=1)
    raw = smooth_line(line_gradient(mean), torch.ones(3, dtype=torch.float64))
    assert (score - standardize(raw)[:, 1:]).abs().max() <= EXACT
    stage.train()(x)
    assert (stage.running.mean - raw.mean(dim=0)).abs().max() <= EXACT


def test_corrected_stage_is_timms_block_where_the_gate_is_one():
    torch.manual_seed(0)
    theirs = Block(12, 3, qkv_bias=True, norm_layer=lambda dim, **kwargs: nn.LayerNorm(dim, eps=1e-6)).double().eval()
    ours = CorrectedStage(12, 3, mlp_ratio=4.0, num_places=6, drop_path=0.0).double().eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert set(missing) == {"smoother", "running.mean", "running.seen"}
    assert not unexpected
    x, places, gate = noise(2, 7, 12), torch.arange(6).expand(2, -1), torch.ones(2, 7, 1, dtype=torch.float64)
    assert (ours(x, gate, places, (2, 3))[0] - theirs(x)).abs().max() <= EXACT
    gate[:, 3] = 0.5
    assert (ours(x, gate, places, (2, 3))[0] - theirs(x)).abs().max() > 1e-6


def test_corrected_stage_scores_the_field_of_patches_for_every_query():
    torch.manual_seed(0)
    stage = CorrectedStage(12, 3, mlp_ratio=2.0, num_places=12, drop_path=0.0).double().eval()
    nn.init.normal_(stage.attn.qkv.weight)
    nn.init.normal_(stage.smoother)
    places, grid = torch.tensor([[0, 1, 4, 5, 6, 11]]), (3, 4)
    _, weights, score = stage(noise(1, 7, 12), torch.ones(1, 7, 1, dtype=torch.float64), places, grid)
    left, right, above, below = naive_neighbors(places[0].tolist(), grid)
    raw = []
    for k in range(6):
        total = 0
        for q in range(7):
            field = [sum(weights[0, h, q, 1 + n] for h in range(3)) / 3 for n in range(6)]
            total += abs(field[right[k]] - field[left[k]]) / 2 + abs(field[below[k]] - field[above[k]]) / 2
        raw.append(total)
    smooth = torch.stack(
        [
            sum(w * raw[n] for w, n in zip(stage.smoother, (k, left[k], right[k], above[k], below[k]), strict=True))
            for k in range(6)
        ]
    )
    assert (score[0] - standardize(smooth.unsqueeze(0))[0]).abs().max() <= EXACT


def test_scores_are_exact_under_bf16():
    places = torch.arange(6).expand(2, -1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, weights, score = CodeStage(12, 3, num_tokens=6)(torch.randn(2, 7, 12))
        corrected = CorrectedStage(12, 3, mlp_ratio=2.0, num_places=6, drop_path=0.0)
        _, _, other = corrected(torch.randn(2, 7, 12), torch.ones(2, 7, 1), places, (2, 3))
    assert weights.dtype == score.dtype == other.dtype == torch.float32
