"""ConvNeXtV2-SSA: counts, shapes at every step, and each equation against a naive loop."""

import itertools

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models import group_parameters

from chiron.core.errors import ModelError
from chiron.models.families.convnextv2_ssa import (
    ConvNeXtV2SSA,
    ScaledSeparableAttention,
    SeparableBlock,
    SeparableSelfAttention,
    from_convnextv2,
)
from chiron.models.registry import DONORS

TINY = {"depths": (1, 2, 1, 2), "dims": (8, 12, 16, 24), "num_classes": 3}
EXACT = 1e-9


@pytest.fixture(scope="module")
def full():
    torch.manual_seed(0)
    return timm.create_model("chiron_convnextv2_ssa", num_classes=8).eval()


def on_meta(name, **arguments):
    with torch.device("meta"):
        return timm.create_model(name, num_classes=8, **arguments)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts(full):
    parts = ["stem", "stages.0", "stages.1.downsample", "stages.1.blocks", "stages.2.downsample", "stages.2.blocks"]
    parts += ["stages.3.downsample", "stages.3.blocks", "norm", "head"]
    assert {part: count(full.get_submodule(part)) for part in parts} == {
        "stem": 4_896,
        "stages.0": 239_904,
        "stages.1.downsample": 74_112,
        "stages.1.blocks": 922_176,
        "stages.2.downsample": 295_680,
        "stages.2.blocks": 14_632_704,
        "stages.3.downsample": 1_181_184,
        "stages.3.blocks": 77_948_928,
        "norm": 1_536,
        "head": 6_152,
    }
    assert count(full) == 95_307_272


@pytest.mark.parametrize(
    ("name", "arguments", "total"),
    [
        ("chiron_convnextv2_ssa_compact", {}, 21_932_072),
        ("chiron_convnextv2_ssa_minimal", {}, 21_752_504),
        ("chiron_convnextv2_ssa", {"mlp_ratio": 0.5}, 36_427_976),
        ("chiron_convnextv2_ssa", {"dims": (48, 96, 192, 384), "mlp_ratio": 3.5}, 21_771_944),
        ("chiron_convnextv2_ssa", {"dims": (48, 96, 192, 384)}, 23_876_360),
        ("chiron_convnextv2_ssa", {"dims": (67, 134, 268, 536), "mlp_ratio": 1}, 21_874_436),
        ("chiron_convnextv2_ssa_minimal", {"mlp_ratio": 4}, 70_117_640),
    ],
)
def test_counts_of_other_readings(name, arguments, total):
    assert count(on_meta(name, **arguments)) == total


@pytest.mark.parametrize(("name", "total"), [("_nano", 487_970), ("_minimal_nano", 129_234)])
def test_nanos_are_small(name, total):
    assert count(timm.create_model(f"chiron_convnextv2_ssa{name}", num_classes=2)) == total


@pytest.mark.parametrize("dim", [8, 46, 96])
def test_parameters_by_block(dim):
    model = ConvNeXtV2SSA(depths=(1, 0, 0, 0), dims=(dim,) * 4)
    assert count(model.stages[0].blocks[0]) == 8 * dim**2 + 65 * dim
    assert count(SeparableSelfAttention(dim)) == 3 * dim**2 + dim
    assert count(ScaledSeparableAttention(dim)) == 3 * dim


@pytest.mark.parametrize(("height", "width"), [(224, 224), (64, 96)])
def test_shapes_at_every_step(full, height, width):
    shapes = {}

    def keep(part):
        def hook(module, inputs, output):
            shapes[part] = tuple((output[0] if isinstance(output, tuple) else output).shape)

        return hook

    steps = ["stages.0", "stages.1.downsample", "stages.1", "stages.2.downsample", "stages.2.blocks.0"]
    steps += ["stages.2.blocks.8", "stages.2", "stages.3.downsample", "stages.3.blocks.11", "stages.3", "norm", "head"]
    handles = [full.get_submodule(part).register_forward_hook(keep(part)) for part in ("stem", *steps)]
    with torch.no_grad():
        full(torch.randn(1, 3, height, width))
    for handle in handles:
        handle.remove()
    a, b, c, d = [(height // s, width // s) for s in (4, 8, 16, 32)]
    assert shapes == {
        "stem": (1, 96, *a),
        "stages.0": (1, 96, *a),
        "stages.1.downsample": (1, 192, *b),
        "stages.1": (1, 192, *b),
        "stages.2.downsample": (1, 384, *c),
        "stages.2.blocks.0": (1, c[0] * c[1], 384),
        "stages.2.blocks.8": (1, c[0] * c[1], 384),
        "stages.2": (1, 384, *c),
        "stages.3.downsample": (1, 768, *d),
        "stages.3.blocks.11": (1, d[0] * d[1], 768),
        "stages.3": (1, 768, *d),
        "norm": (1, 768),
        "head": (1, 8),
    }


def test_everything_of_the_full_model_learns(full):
    full.zero_grad()
    full.train()(torch.randn(2, 3, 32, 64)).square().sum().backward()  # one token alone would leave its score no choice
    full.eval()
    assert {name for name, p in full.named_parameters() if not p.grad.any()} == set()


def test_separable_attention_equals_a_naive_loop():
    torch.manual_seed(0)
    layer = SeparableSelfAttention(6).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    mixed, scores = layer(x)
    w_i, w_k, w_v, w_o = (m.weight for m in (layer.score, layer.key, layer.value, layer.proj))
    for b in range(2):
        powers = [torch.exp(sum(x[b, n, j] * w_i[0, j] for j in range(6))) for n in range(5)]
        cs = [power / sum(powers) for power in powers]  # eq. 5
        keys = [[sum(x[b, n, j] * w_k[d, j] for j in range(6)) for d in range(6)] for n in range(5)]
        cv = [sum(cs[n] * keys[n][d] for n in range(5)) for d in range(6)]  # eq. 6
        for n in range(5):
            assert abs(scores[b, 0, n] - cs[n]) <= EXACT
            xv = [max(sum(x[b, n, j] * w_v[d, j] for j in range(6)), torch.zeros(())) for d in range(6)]  # eq. 7
            z = [cv[d] * xv[d] for d in range(6)]  # eq. 8
            for d in range(6):
                assert abs(mixed[b, n, d] - sum(z[j] * w_o[d, j] for j in range(6))) <= EXACT  # eq. 9


def test_scaled_attention_equals_a_naive_loop():
    torch.manual_seed(0)
    layer = ScaledSeparableAttention(4).double()
    assert layer.key_scale.tolist() == layer.value_scale.tolist() == [1.0] * 4
    torch.nn.init.normal_(layer.key_scale)
    torch.nn.init.normal_(layer.value_scale)
    x = torch.randn(1, 5, 4, dtype=torch.float64)
    mixed, scores = layer(x)
    powers = [torch.exp(x[0, n] @ layer.score.weight[0]) for n in range(5)]
    for n in range(5):
        assert abs(scores[0, 0, n] - powers[n] / sum(powers)) <= EXACT
        for d in range(4):
            context = sum(powers[i] / sum(powers) * x[0, i, d] * layer.key_scale[d] for i in range(5))
            value = max(x[0, n, d] * layer.value_scale[d], torch.zeros(()))
            assert abs(mixed[0, n, d] - context * value) <= EXACT


@pytest.mark.parametrize("attn_layer", [SeparableSelfAttention, ScaledSeparableAttention])
@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(7)), seed=st.integers(0, 100))
def test_permuted_tokens_give_permuted_tokens(attn_layer, order, seed):
    torch.manual_seed(seed)
    block = SeparableBlock(6, attn_layer=attn_layer, mlp_ratio=2).double()
    x = torch.randn(2, 7, 6, dtype=torch.float64)
    tokens, scores = block(x)
    permuted, permuted_scores = block(x[:, order])
    assert (permuted - tokens[:, order]).abs().max() <= EXACT
    assert (permuted_scores - scores[..., order]).abs().max() <= EXACT


def test_a_block_is_two_residual_steps():
    torch.manual_seed(0)
    block = SeparableBlock(6, attn_layer=SeparableSelfAttention, mlp_ratio=4).double()
    x = torch.randn(1, 3, 6, dtype=torch.float64)

    def normed(t, layer):
        return (t - t.mean(-1, keepdim=True)) / (t.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()

    after = x + block.attn(normed(x, block.norm1))[0]
    hidden = normed(after, block.norm2) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    assert hidden.shape == (1, 3, 24)
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    expected = after + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    assert (block(x)[0] - expected).abs().max() <= EXACT


def test_response_normalization_equals_a_naive_loop():
    torch.manual_seed(0)
    grn = ConvNeXtV2SSA(**TINY).stages[0].blocks[0].mlp.grn.double()
    x = torch.randn(2, 3, 2, 32, dtype=torch.float64)
    assert torch.equal(grn(x), x)  # gamma and beta begin at zero
    torch.nn.init.normal_(grn.weight)
    torch.nn.init.normal_(grn.bias)
    y = grn(x)
    for b in range(2):
        length = [sum(x[b, i, j, c] ** 2 for i in range(3) for j in range(2)) ** 0.5 for c in range(32)]
        share = [length[c] / (sum(length) / 32 + 1e-6) for c in range(32)]
        for i, j, c in itertools.product(range(3), range(2), range(32)):
            expected = grn.weight[c] * (x[b, i, j, c] * share[c]) + grn.bias[c] + x[b, i, j, c]
            assert abs(y[b, i, j, c] - expected) <= EXACT


def test_convolution_blocks_have_no_layer_scale_and_eps_1e_6():
    model = ConvNeXtV2SSA(**TINY)
    for block in (*model.stages[0].blocks, *model.stages[1].blocks):
        assert block.gamma is None
        assert block.mlp.grn.eps == block.norm.eps == 1e-6
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}


def test_stages_of_convolution_equal_timms_convnextv2():
    torch.manual_seed(0)
    numbers = {"depths": (1, 2, 1, 2), "dims": (8, 12, 16, 24), "conv_mlp": False}
    theirs = timm.create_model("convnextv2_atto", **numbers).double()
    ours = ConvNeXtV2SSA(**TINY).double()
    weights = {from_convnextv2(key): value for key, value in theirs.state_dict().items() if from_convnextv2(key)}
    ours.load_state_dict(weights, strict=False)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    maps = [model.stages[1](model.stages[0](model.stem(images))) for model in (theirs, ours)]
    assert (maps[0] - maps[1]).abs().max() < 1e-12
    for stage in (2, 3):
        maps = [model.stages[stage].downsample(maps[0]) for model in (theirs, ours)]
        assert (maps[0] - maps[1]).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["chiron_convnextv2_ssa", "chiron_convnextv2_ssa_minimal"])
def test_donor_gives_stem_two_stages_and_three_downsampling_layers(name):
    donor = DONORS[name]
    assert donor.name == "convnextv2_tiny.fcmae_ft_in1k"
    with torch.device("meta"):
        theirs = timm.create_model(donor.name, pretrained=False).state_dict()
    ours = on_meta(name).state_dict()
    given_names = {key: donor.rename(key) for key in theirs}
    taken = {ours_name for ours_name in given_names.values() if ours_name}
    assert all(ours[mine].shape == theirs[key].shape for key, mine in given_names.items() if mine)
    assert taken == {
        key
        for key in ours
        if key.split(".")[0] == "stem" or key.startswith(("stages.0.", "stages.1.")) or ".downsample." in key
    }
    assert sum(ours[key].numel() for key in taken) == 4_896 + 239_904 + 74_112 + 922_176 + 295_680 + 1_181_184


def test_other_widths_have_no_donor():
    assert "chiron_convnextv2_ssa_compact" not in DONORS


def test_random_weights_follow_their_sources():
    torch.manual_seed(0)
    model = ConvNeXtV2SSA(depths=(1, 1, 2, 1), dims=(32, 48, 96, 128), num_classes=100)
    convnexts = [model.stem[0], model.stages[1].downsample[1], model.stages[2].downsample[1]]
    convnexts += [model.stages[0].blocks[0].mlp.fc1, model.stages[3].downsample[1], model.head]
    for layer in convnexts:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
    block = model.stages[2].blocks[0]
    for layer in (block.attn.key, block.attn.value, block.attn.proj, block.mlp.fc1, block.mlp.fc2):  # torch's own
        bound = layer.in_features**-0.5
        assert layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_head_is_the_normed_mean_token():
    torch.manual_seed(0)
    model = ConvNeXtV2SSA(**TINY).double().eval()
    torch.nn.init.normal_(model.norm.weight)
    maps = torch.randn(2, 24, 2, 3, dtype=torch.float64)
    for b in range(2):
        mean = sum(maps[b, :, i, j] for i in range(2) for j in range(3)) / 6
        centered = mean - mean.mean()
        vector = centered / (centered.square().mean() + 1e-6).sqrt() * model.norm.weight + model.norm.bias
        assert (model.forward_head(maps, pre_logits=True)[b] - vector).abs().max() <= EXACT
        assert (model.forward_head(maps)[b] - (model.head.weight @ vector + model.head.bias)).abs().max() <= EXACT


def test_checkpointing_runs_every_block_again_in_training_alone():
    model = ConvNeXtV2SSA(**TINY)
    calls = []
    for block in (*model.stages[2].blocks, *model.stages[3].blocks):
        block.norm1.register_forward_hook(lambda *_: calls.append(1))
    images = torch.randn(1, 3, 64, 64)
    for enable, training, expected in [(False, True, 3), (True, True, 6), (True, False, 3)]:
        calls.clear()
        model.set_grad_checkpointing(enable)
        model.train(training)(images).sum().backward()
        assert len(calls) == expected


def test_a_new_classifier_begins_as_the_first_one_did():
    model = ConvNeXtV2SSA(**TINY).double()
    model.reset_classifier(500)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not model.head.bias.any()
    assert model.head.weight.dtype == torch.float64


def test_named_outputs_are_the_context_scores_of_every_block():
    torch.manual_seed(0)
    model = ConvNeXtV2SSA(**TINY).eval()
    images = torch.randn(2, 3, 64, 96)
    output = model.forward_named(images)
    assert torch.equal(output.logits, model(images))
    assert [tuple(scores.shape) for scores in output.attn] == [(2, 1, 1, 24), (2, 1, 1, 6), (2, 1, 1, 6)]
    first = model.stages[2].blocks[0]
    tokens = model.stages[2].downsample(model.stages[:2](model.stem(images))).flatten(2).transpose(1, 2)
    assert torch.allclose(output.attn[0][:, 0], first.attn(first.norm1(tokens))[1])


def test_scores_are_exact_under_bf16():
    model = ConvNeXtV2SSA(**TINY).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model.forward_named(torch.randn(1, 3, 64, 64))
    assert {scores.dtype for scores in output.attn} == {torch.float32}
    assert torch.isfinite(output.logits).all()


def test_attention_is_injected():
    class Nothing(torch.nn.Module):
        def __init__(self, dim):
            super().__init__()

        def forward(self, x):
            return torch.zeros_like(x), x.new_ones(x.shape[0], 1, x.shape[1]) / x.shape[1]

    output = ConvNeXtV2SSA(**TINY, attn_layer=Nothing).forward_named(torch.randn(1, 3, 64, 64))
    assert output.attn[0].unique().tolist() == [1 / 16]


@pytest.mark.parametrize("size", [(65, 64), (64, 40), (0, 32)])
def test_a_size_off_the_stride_is_told(size):
    model = ConvNeXtV2SSA(**TINY)
    for forward in (model, model.forward_named):
        with pytest.raises(
            ModelError, match=rf"multiples of 32 pixels. Got {size[0]} x {size[1]}. Use for example img_size"
        ):
            forward(torch.zeros(1, 3, *size))


def test_only_global_average_pooling():
    with pytest.raises(ModelError, match=r"global_pool of this family must be 'avg'. Got 'max'"):
        ConvNeXtV2SSA(**TINY).reset_classifier(2, "max")


def test_drop_path_grows_with_depth_and_head_drops():
    model = ConvNeXtV2SSA(**TINY, drop_path_rate=0.5, drop_rate=0.3)
    blocks = [block for stage in model.stages for block in stage.blocks]
    assert [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks] == pytest.approx(
        [0.1 * i for i in range(6)]
    )
    assert model.head_drop.p == 0.3
    silent = ConvNeXtV2SSA(**TINY)
    assert not any(type(module).__name__ == "DropPath" for module in silent.modules())


def test_a_dropped_path_leaves_the_tokens():
    block = SeparableBlock(6, attn_layer=SeparableSelfAttention, mlp_ratio=4, drop_path=1 - 1e-9)
    x = torch.randn(2, 3, 6)
    assert torch.equal(block(x)[0], x)
    assert not torch.equal(block.eval()(x)[0], x)


def test_layer_groups_follow_the_depth():
    model = ConvNeXtV2SSA(**TINY)
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    order = ["stem.0.weight", "stages.0.blocks.0.norm.weight", "stages.1.downsample.1.weight"]
    order += ["stages.1.blocks.1.norm.weight", "stages.2.blocks.0.attn.key.weight", "stages.3.blocks.0.norm1.weight"]
    order += ["stages.3.blocks.1.norm1.weight", "head.weight"]
    ids = [layers[name] for name in order]
    assert ids == sorted(set(ids))
    assert set(layers) == {name for name, _ in model.named_parameters()}
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert coarse["stages.3.blocks.0.norm1.weight"] == coarse["stages.3.downsample.0.weight"]


@pytest.mark.parametrize("name", ["chiron_convnextv2_ssa_nano", "chiron_convnextv2_ssa_minimal_nano"])
def test_nano_overfits(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=2)
    images, targets = torch.randn(16, 3, 64, 64), torch.arange(16) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert (model.eval()(images).argmax(dim=1) == targets).all()
