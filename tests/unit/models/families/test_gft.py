"""GFT: counts, shapes at every step, what is learned, what is saved, and the blocks against timm's."""

import copy
import subprocess
import sys
from collections import defaultdict

import pytest
import safetensors.torch
import timm
import torch
from timm.models import group_parameters
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.create import create_model
from chiron.models.families.gft import CodeGFT, CorrectedGFT
from chiron.models.registry import DONORS

TINY = {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0, "num_classes": 3}
DEAD = {"unused_depth": 1, "base_classes": 4}
NAMES = ["chiron_gft", "chiron_gft_corrected"]


def code(**changes):
    torch.manual_seed(0)
    return CodeGFT(**{**TINY, **DEAD, **changes})


def corrected(**changes):
    torch.manual_seed(0)
    return CorrectedGFT(**{**TINY, **changes})


READINGS = pytest.mark.parametrize("build", [code, corrected])


def images(count=2, side=64):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def sharpen(model):
    """Attention that differs from token to token, as that of trained weights does."""
    torch.manual_seed(2)
    for stage in model.gala:
        nn.init.normal_(stage.attn.qkv.weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def full():
    return {name: timm.create_model(name, num_classes=5).eval() for name in NAMES}


def count_by_stage(model):
    return {
        stage: sum(p.numel() for n, p in model.named_parameters() if n.startswith(tuple(f"{q}." for q in prefixes)))
        + sum(p.numel() for n, p in model.named_parameters() if n in prefixes)
        for stage, prefixes in model.named_stages().items()
    }


def test_parameter_counts(full):
    block = 444_864
    stem, head = 192 * 768 + 192 + 192 + 197 * 192, 2 * 192 + 965
    stage = 4 * 192 * 192 + 3
    assert count_by_stage(full["chiron_gft"]) == {
        "stem": stem,
        "blocks": 8 * block,
        "unused": 4 * block + 193_000,
        "gala1": stage,
        "gala2": stage,
        "gala3": stage,
        "head": head,
    }
    assert sum(p.numel() for p in full["chiron_gft"].parameters()) == 6_160_758
    assert count_by_stage(full["chiron_gft_corrected"]) == {
        "stem": stem,
        "blocks": 8 * block,
        "gala1": block + 5,
        "gala2": block + 5,
        "gala3": block + 5,
        "head": head,
    }
    assert sum(p.numel() for p in full["chiron_gft_corrected"].parameters()) == 5_080_532


@pytest.mark.parametrize(("name", "count"), [("chiron_gft_nano", 116_613), ("chiron_gft_corrected_nano", 126_401)])
def test_nanos_are_small(name, count):
    assert sum(p.numel() for p in timm.create_model(name, num_classes=2).parameters()) == count


@pytest.mark.parametrize(("name", "dead"), [("chiron_gft", 1_972_465), ("chiron_gft_corrected", 0)])
def test_what_no_gradient_reaches(name, dead):
    model = create_model(name, num_classes=5, img_size=64, init="scratch", seed=0)
    nn.functional.cross_entropy(model(images(2, 64)), torch.tensor([0, 1])).backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert sum(p.numel() for name, p in model.named_parameters() if name in idle) == dead
    assert idle == set(getattr(model, "parameters_not_learned", ()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("side", "grid", "kept"), [(224, 14, (147, 98, 49)), (160, 10, (75, 50, 25))])
def test_shapes_at_every_step(full, name, side, grid, kept):
    model, shapes = full[name], defaultdict(list)
    parts = ["patch_embed", *(f"blocks.{i}" for i in range(len(model.blocks))), "last_map"]
    parts += ["gala.0", "gala.1", "gala.2", "norm", "head"]
    handles = [
        model.get_submodule(part).register_forward_hook(
            lambda m, inputs, output, part=part: shapes[part].append(
                tuple((output[0] if isinstance(output, tuple) else output).shape)
            )
        )
        for part in parts
    ]
    with torch.no_grad():
        output = model.forward_named(images(1, side))
    for handle in handles:
        handle.remove()
    n = grid * grid
    assert shapes == {
        "patch_embed": [(1, 192, grid, grid)],
        **{f"blocks.{i}": [(1, 1 + n, 192)] for i in range(8)},
        "last_map": [(1, 192, grid, grid)],
        "gala.0": [(1, 1 + n, 192)],
        "gala.1": [(1, 1 + kept[0], 192)],
        "gala.2": [(1, 1 + kept[1], 192)],
        "norm": [(1, 1 + kept[2], 192)],
        "head": [(1, 5)],
    }
    entering = (n, *kept[:2])
    assert [tuple(a.shape) for a in output.attn] == [(1, 3, 1 + m, 1 + m) for m in entering]
    assert [tuple(s.shape) for s in output.token_scores] == [(1, m) for m in entering]
    assert [tuple(k.shape) for k in output.kept_tokens] == [(1, m) for m in kept]


@pytest.mark.parametrize(
    ("name", "left_out", "own"),
    [
        ("chiron_gft", (), ("head.", "gala.")),
        ("chiron_gft_corrected", ("blocks.11.", "head."), ("head.", "smoother", "running")),
    ],
)
def test_the_donors_names_fit(full, name, left_out, own):
    donor, ours = DONORS[name], full[name].state_dict()
    theirs = timm.create_model(donor.name, pretrained=False).state_dict()
    taken = {key: donor.rename(key) for key in theirs}
    assert {key for key, to in taken.items() if to is None} == {key for key in theirs if key.startswith(left_out)}
    given = [to for to in taken.values() if to is not None]
    assert len(set(given)) == len(given)
    assert all(ours[to].shape == theirs[key].shape for key, to in taken.items() if to is not None)
    remaining = set(ours) - set(given)
    assert all(any(part in key for part in own) for key in remaining)
    assert {key for key in ours if key.startswith(("blocks.", "patch_embed.", "norm."))} <= set(given)


def test_the_blocks_equal_timms():
    torch.manual_seed(0)
    numbers = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "num_heads": 3, "mlp_ratio": 2.0}
    theirs = timm.models.VisionTransformer(**numbers, depth=3, num_classes=4).double().eval()
    ours = code().double().eval()
    state = {DONORS["chiron_gft"].rename(key): value for key, value in theirs.state_dict().items()}
    missing, unexpected = ours.load_state_dict(state, strict=False)
    assert not unexpected
    assert {name.split(".")[0] for name in missing} == {"gala", "head"}
    x = images().double()
    expected = theirs.forward_intermediates(x, indices=[1], norm=False, output_fmt="NLC", return_prefix_tokens=True)
    patches, cls = expected[1][0]
    got, grid = ours.forward_blocks(x)
    assert grid == (4, 4)
    assert (got[:, 1:] - patches).abs().max() <= 1e-9
    assert (got[:, :1] - cls).abs().max() <= 1e-9
    faint = 1e-3 * got  # where the epsilon of the norm counts
    assert (ours.norm(faint) - theirs.norm(faint)).abs().max() <= 1e-9


def test_the_code_reading_written_out():
    model = sharpen(code()).double().eval()
    x, _ = model.forward_blocks(images().double())
    x = x.detach()
    for stage, num_keep in zip(model.gala, (12, 8, 4), strict=True):
        torchs = nn.MultiheadAttention(24, 3, bias=False, batch_first=True).double()
        torchs.load_state_dict({"in_proj_weight": stage.attn.qkv.weight, "out_proj.weight": stage.attn.proj.weight})
        x, weights = torchs(x, x, x)  # averaged over the heads
        ends = torch.cat([weights[..., :1], weights, weights[..., -1:]], dim=-1)
        score = ((ends[..., 2:] - ends[..., :-2]) / 2).abs().sum(dim=1)
        score = nn.functional.conv1d(score.unsqueeze(1), torch.ones(1, 1, 3).double(), padding=1).squeeze(1)
        shares = (((score - score.mean(1, keepdim=True)) / score.std(1, keepdim=True)) / 0.1).softmax(dim=1)
        kept = []
        for b in range(2):
            slots = sorted(sorted(range(1, x.shape[1]), key=lambda n, b=b: -shares[b, n].item())[:num_keep])
            kept.append(x[b, [0, *slots]])
        x = torch.stack(kept)
    expected = model.head(model.norm(x[:, 0]))
    assert (model(images().double()) - expected).abs().max() <= 1e-9


def test_the_corrected_readout_written_out():
    model = sharpen(corrected()).double().eval()
    x, grid = model.forward_blocks(images().double())
    gate, places = torch.ones(2, 17, 1, dtype=torch.float64), torch.arange(16).expand(2, -1)
    for stage, num_keep in zip(model.gala, (12, 8, 4), strict=True):
        x, _, score = stage(x, gate, places, grid)
        lines = []
        for b in range(2):
            slots = sorted(sorted(range(len(score[b])), key=lambda n, b=b: -score[b, n].item())[:num_keep])
            strength = [1 / (1 + torch.exp(-score[b, n])) for n in slots]
            factors = torch.stack([torch.ones_like(strength[0]), *(s * num_keep / sum(strength) for s in strength)])
            lines.append((x[b, [0, *(1 + n for n in slots)]], factors.unsqueeze(-1), places[b, slots]))
        x, gate, places = (torch.stack(part) for part in zip(*lines, strict=True))
    heard = model.norm(x) * gate
    expected = model.head(heard[:, 0] / 2 + heard[:, 1:].mean(dim=1) / 2)
    assert (model(images().double()) - expected).abs().max() <= 1e-9


@READINGS
def test_kept_tokens_are_the_most_important_in_order(build):
    output = sharpen(build()).eval().forward_named(10 * images(3))
    before = torch.arange(16).expand(3, -1)
    for kept, shares, count in zip(output.kept_tokens, output.token_scores, (12, 8, 4), strict=True):
        for b in range(3):
            strongest = sorted(range(shares.shape[1]), key=lambda n, b=b: -shares[b, n].item())[:count]
            assert kept[b].tolist() == [before[b, n].item() for n in sorted(strongest)]
        before = kept
    assert len(output.kept_tokens[-1].unique(dim=0)) > 1  # each image chooses its own


@pytest.mark.parametrize(("build", "matters"), [(code, False), (corrected, True)])
def test_whether_the_last_pruning_matters(build, matters):
    model = sharpen(build()).eval()
    before = model(images())
    model.keep_ratios = (0.75, 0.5, 0.125)
    assert torch.allclose(model(images()), before, atol=1e-7) != matters


@READINGS
def test_evaluation_ignores_the_running_scores(build):
    model = sharpen(build()).eval()
    saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = model(images())
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())
    model.train()(images(5))
    assert all(stage.running.seen.any() for stage in model.gala)
    assert torch.equal(model.eval()(images()), before)


@READINGS
def test_running_scores_choose_tokens_in_training(build):
    model = sharpen(build()).train()
    own = model.eval().forward_named(images()).kept_tokens[0]
    for stage in model.gala:
        stage.running.mean.copy_(torch.linspace(0, 1e3, stage.running.mean.shape[0]))
        stage.running.seen.fill_(True)
    led = model.train().forward_named(images()).kept_tokens[0]
    assert led.tolist() == [list(range(4, 16))] * 2
    assert not torch.equal(own, led)


@READINGS
def test_checkpointing_moves_the_running_scores_once(build):
    plain = sharpen(build()).train()
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing(True)
    for count in (2, 3):  # the batch size may change
        for model in (plain, saving):
            model(images(count)).square().sum().backward()
    for (name, a), b in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), atol=1e-7), name


@READINGS
def test_training_goes_on_from_saved_weights_bit_by_bit(build):
    def step(model, seed):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
        optimizer.step()

    model = sharpen(build()).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    step(model, 0)
    resumed = build().train()
    resumed.load_state_dict(safetensors.torch.load(safetensors.torch.save(model.state_dict())))
    step(model, 1)
    optimizer = torch.optim.SGD(resumed.parameters(), lr=0.01)
    step(resumed, 1)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


FRESH = """
import pathlib, sys, safetensors.torch, torch
import chiron.models
from chiron.models.create import create_model
folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
for name in sys.argv[3:]:
    model = create_model(name, num_classes=2, img_size=64, init="scratch", seed=7).eval()
    model.load_state_dict(safetensors.torch.load_file(folder / f"{name}.safetensors"), strict=True)
    with torch.no_grad():
        logits = model(safetensors.torch.load_file(folder / "inputs.safetensors")["x"])
    safetensors.torch.save_file({"logits": logits}, folder / f"{name}.logits.safetensors")
"""


def test_trained_models_load_in_a_fresh_process(tmp_path):
    x = images(3)
    safetensors.torch.save_file({"x": x}, tmp_path / "inputs.safetensors")
    logits = {}
    for name in ["chiron_gft_nano", "chiron_gft_corrected_nano"]:
        model = create_model(name, num_classes=2, img_size=64, init="scratch", seed=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for count in (4, 3):
            optimizer.zero_grad()
            model(images(count)).square().sum().backward()
            optimizer.step()
        with torch.no_grad():
            logits[name] = model.eval()(x)
        safetensors.torch.save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    subprocess.run([sys.executable, "-c", FRESH, str(tmp_path), str(torch.get_num_threads()), *logits], check=True)
    for name, expected in logits.items():
        assert torch.equal(safetensors.torch.load_file(tmp_path / f"{name}.logits.safetensors")["logits"], expected)


@READINGS
def test_one_image_of_a_trained_batch_gives_the_same_logits(build):
    model = sharpen(build()).train()
    model(images(4))
    with torch.no_grad():
        together, alone = model.eval()(images(4)), model(images(4)[:1])
    assert torch.allclose(together[:1], alone, atol=1e-5)


@READINGS
def test_position_embedding_interpolates(build):
    small, large = build().eval(), build(img_size=96).eval()
    everywhere = torch.randn(1, 1, 24)
    small.pos_embed.data = everywhere.expand_as(small.pos_embed).clone()
    buffers = dict(large.named_buffers())
    large.load_state_dict({**small.state_dict(), "pos_embed": everywhere.expand_as(large.pos_embed), **buffers})
    assert torch.allclose(small(images(1, 96)), large(images(1, 96)), atol=1e-5)
    nn.init.constant_(small.pos_embed, 0.0)
    assert not torch.allclose(small(images(1, 96)), large(images(1, 96)), atol=1e-3)


@READINGS
def test_sides_may_differ_and_one_token_is_enough(build):
    model = build(img_size=(64, 96))
    assert model.pos_embed.shape == (1, 1 + 4 * 6, 24)
    assert model(torch.randn(2, 3, 64, 96)).shape == (2, 3)
    output = model.eval().forward_named(torch.randn(1, 3, 16, 16))
    assert [kept.tolist() for kept in output.kept_tokens] == [[[0]]] * 3
    assert torch.isfinite(output.logits).all()


@READINGS
@pytest.mark.parametrize("size", [(65, 64), (64, 40), (0, 32)])
def test_a_size_off_the_patches_is_told(build, size):
    message = rf"multiples of 16 pixels. Got {size[0]} x {size[1]}. Use for example img_size"
    with pytest.raises(ModelError, match=message):
        build()(torch.zeros(1, 3, *size))
    with pytest.raises(ModelError, match=message):
        build(img_size=size)


@READINGS
def test_training_at_another_size_is_told(build):
    with pytest.raises(ModelError, match=r"made for, 64 x 64 pixels. Got 96 x 80. Build the model with this img_size"):
        build().train()(torch.zeros(1, 3, 96, 80))


@READINGS
@pytest.mark.parametrize("ratios", [(0.5, 0.75), (0.0,), (1.2,)])
def test_keep_ratios_must_fall(build, ratios):
    with pytest.raises(ModelError, match=r"keep_ratios must fall within \(0, 1\]"):
        build(keep_ratios=ratios)


@READINGS
def test_the_pooling_is_its_own(build):
    with pytest.raises(ModelError, match=r"pooling of this family is its own. Got global_pool 'avg'. Leave it out"):
        build().reset_classifier(2, "avg")


def test_an_argument_that_is_not_one_is_told():
    with pytest.raises(ModelError, match="Got 'keep'"):
        create_model("chiron_gft_nano", num_classes=2, img_size=64, init="scratch", seed=0, keep=3)


@READINGS
def test_layer_groups_follow_the_depth(build):
    model = build()
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    order = ["pos_embed", "blocks.0.norm1.weight", "blocks.1.norm1.weight", "gala.0.smoother", "gala.2.smoother"]
    ids = [layers[name] for name in [*order, "head.weight"]]
    assert ids == sorted(set(ids))
    assert layers["cls_token"] == layers["patch_embed.bias"] == layers["pos_embed"]
    assert set(layers) == {name for name, _ in model.named_parameters()}
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert coarse["blocks.0.norm1.weight"] == coarse["blocks.1.norm1.weight"] != coarse["gala.0.smoother"]


def test_drop_path_grows_with_depth():
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in code(drop_path_rate=0.4).blocks]
    assert rates == pytest.approx([0.0, 0.2, 0.4])  # over all blocks that are registered, as timm's
    model = corrected(drop_path_rate=0.4)
    rates = [getattr(layer.drop_path, "drop_prob", 0.0) for layer in (*model.blocks, *model.gala)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_names_without_weight_decay_exist():
    for model in (code(), corrected()):
        assert model.no_weight_decay() < {name for name, _ in model.named_parameters()}


@READINGS
def test_bf16_gives_finite_logits_and_gradients(build):
    model = build().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(images()).square().sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert torch.isfinite(build().eval().bfloat16()(images().bfloat16())).all()


@pytest.mark.parametrize("name", ["chiron_gft_nano", "chiron_gft_corrected_nano"])
def test_nanos_overfit(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=2)
    x, targets = images(16), torch.arange(16) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), targets).backward()
        optimizer.step()
    assert (model.eval()(x).argmax(dim=1) == targets).all()
