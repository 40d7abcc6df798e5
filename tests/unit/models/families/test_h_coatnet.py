"""H-CoAtNet: counts, shapes at every step, and each part against a reference."""

from collections import defaultdict

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.models.convnext import ConvNeXt

from chiron.core.errors import ModelError
from chiron.models.families.h_coatnet import HCoAtNet
from chiron.models.registry import DONORS

TINY = {"img_size": 64, "depths": (1, 2, 1, 1), "dims": (8, 12, 16, 32), "num_heads": 2, "num_classes": 3}


@pytest.fixture(scope="module")
def full():
    return timm.create_model("chiron_h_coatnet", num_classes=5).eval()


def test_parameter_counts(full):
    counts = {
        stage: sum(
            p.numel()
            for name, p in full.named_parameters()
            if any(name.split(".")[0] == q or name.startswith(q + ".") for q in prefixes)
        )
        for stage, prefixes in full.named_stages().items()
    }
    assert counts == {
        "stem": 4_896,
        "stage1": 237_888,
        "stage2": 992_256,
        "tokens": 150_528 + 888_576,
        "stage3": 11_112_960,
        "stage4": 15_470_592,
        "pruning": 149_088,
        "head": 5_381,
    }
    assert full.pos_embed.numel() == 150_528
    assert sum(p.numel() for p in full.parameters()) == 29_012_165


def test_nano_is_small():
    assert sum(p.numel() for p in timm.create_model("chiron_h_coatnet_nano", num_classes=2).parameters()) == 608_786


@pytest.mark.parametrize(
    ("side", "grids", "kept"), [(224, (56, 28, 14, 7), (36, 24)), (160, (40, 20, 10, 5), (18, 12))]
)
def test_shapes_at_every_step(full, side, grids, kept):
    shapes = defaultdict(list)
    parts = ["stem", "stages.0", "stages.1", "token_blocks", "stages.2", "stages.3", "gates.0", "gates.1", "norm"]
    handles = [
        full.get_submodule(part).register_forward_hook(
            lambda m, inputs, output, part=part: shapes[part].append(
                tuple((output[0] if isinstance(output, tuple) else output).shape)
            )
        )
        for part in parts
    ]
    with torch.no_grad():
        outputs = full.forward_named(torch.randn(1, 3, side, side))
    for handle in handles:
        handle.remove()
    a, b, c, d = grids
    assert shapes == {
        "stem": [(1, 96, a, a)],
        "stages.0": [(1, 96, a, a)] * 3,
        "stages.1": [(1, 192, b, b)],
        "token_blocks": [(1, b * b, 192)],
        "stages.2": [(1, 384, c, c)],
        "stages.3": [(1, 768, d, d)],
        "gates.0": [(1, d * d, 768)],
        "gates.1": [(1, kept[0], 768)],
        "norm": [(1, 768)],
    }
    assert outputs.logits.shape == (1, 5)
    assert [tuple(indices.shape) for indices in outputs.kept_tokens] == [(1, kept[0]), (1, kept[1])]
    assert [tuple(scores.shape) for scores in outputs.token_scores] == [(1, d * d), (1, kept[0])]


def test_backbone_equals_timms_convnext():
    torch.manual_seed(0)
    theirs = ConvNeXt(depths=(1, 2, 1, 1), dims=(8, 12, 16, 32), ls_init_value=0.5, num_classes=0).double()
    ours = HCoAtNet(**TINY, stage1_passes=1, token_depth=0).double()
    missing, _ = ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if "head" not in k}, strict=False)
    assert {name.split(".")[0] for name in missing} == {"pos_embed", "gates", "norm", "head"}
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    assert (ours.forward_maps(images) - theirs.forward_features(images)).abs().max() < 1e-12


def test_gates_drop_five_percent_and_the_rest_nothing(full):
    rates = {name: layer.p for name, layer in full.named_modules() if isinstance(layer, torch.nn.Dropout) and layer.p}
    assert rates == {"gates.0.gate.2": 0.05, "gates.1.gate.2": 0.05}


def test_stage_one_runs_three_times_with_the_same_weights():
    torch.manual_seed(0)
    model = HCoAtNet(**TINY, ls_init_value=0.5).eval()
    images = torch.randn(1, 3, 64, 64)
    x = model.stem(images)
    for _ in range(3):
        x = model.stages[0](x)
    expected = model.stages[3](model.stages[2](model._mix_tokens(model.stages[1](x))))
    assert torch.equal(model.forward_maps(images), expected)
    model.stage1_passes = 1
    assert not torch.allclose(model.forward_maps(images), expected, atol=1e-4)


def test_kept_tokens_are_grid_indices_of_the_strongest():
    torch.manual_seed(0)
    model = HCoAtNet(**{**TINY, "img_size": 224}).eval()
    maps = torch.randn(2, 32, 7, 7)
    tokens, (first, second), (scores, _) = model.prune(maps)
    assert (first.shape[1], second.shape[1]) == (36, 24)
    for b in range(2):
        strongest = sorted(range(49), key=lambda n, b=b: -scores[b, n].item())[:36]
        assert first[b].tolist() == strongest
        assert set(second[b].tolist()) <= set(first[b].tolist())
    columns = maps.flatten(2).transpose(1, 2)  # the kept vector is the grid's, gated twice
    gated = model.gates[0](columns)[0]
    again = gated[0, first[0]].unsqueeze(0)
    expected = model.gates[1](again)[0][0][[first[0].tolist().index(n) for n in second[0].tolist()]]
    assert torch.allclose(tokens[0], expected)


def test_position_embedding_interpolates():
    torch.manual_seed(0)
    small = HCoAtNet(**TINY).eval()
    large = HCoAtNet(**{**TINY, "img_size": 96}).eval()
    everywhere = torch.randn(1, 1, 12)
    small.pos_embed.data = everywhere.expand_as(small.pos_embed).clone()
    large.load_state_dict({**small.state_dict(), "pos_embed": everywhere.expand_as(large.pos_embed)})
    images = torch.randn(1, 3, 96, 96)
    assert torch.allclose(small(images), large(images), atol=1e-5)
    torch.nn.init.constant_(small.pos_embed, 0.0)
    assert not torch.allclose(small(images), large(images), atol=1e-3)


def test_sides_may_differ():
    model = HCoAtNet(**{**TINY, "img_size": (64, 96)})
    assert model.forward_maps(torch.randn(1, 3, 64, 96)).shape == (1, 32, 2, 3)
    assert model.pos_embed.shape == (1, 8 * 12, 12)


@pytest.mark.parametrize("size", [(65, 64), (64, 40), (0, 32)])
def test_a_size_off_the_stride_is_told(size):
    with pytest.raises(
        ModelError, match=rf"multiples of 32 pixels. Got {size[0]} x {size[1]}. Use for example img_size"
    ):
        HCoAtNet(**TINY)(torch.zeros(1, 3, *size))


def test_one_token_is_kept_when_the_grid_has_one():
    outputs = HCoAtNet(**TINY).eval().forward_named(torch.randn(1, 3, 32, 32))
    assert [k.tolist() for k in outputs.kept_tokens] == [[[0]], [[0]]]
    assert torch.isfinite(outputs.logits).all()


@pytest.mark.parametrize("ratios", [(0.5, 0.75), (0.0,), (1.2,)])
def test_keep_ratios_must_fall(ratios):
    with pytest.raises(ModelError, match="keep_ratios must fall"):
        HCoAtNet(**TINY, keep_ratios=ratios)


def test_named_outputs_equal_forward():
    torch.manual_seed(0)
    model = HCoAtNet(**TINY).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.forward_named(images).logits, model(images))


def test_layer_groups_follow_the_depth():
    model = HCoAtNet(**TINY)
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    order = ["stem.0.weight", "stages.0.blocks.0.gamma", "stages.1.downsample.1.weight", "stages.1.blocks.1.gamma"]
    order += ["pos_embed", "token_blocks.1.norm1.weight", "stages.2.blocks.0.gamma", "stages.3.blocks.0.gamma"]
    order += ["gates.0.gate.0.weight", "head.weight"]
    ids = [layers[name] for name in order]
    assert ids == sorted(set(ids))
    assert set(layers) == {name for name, _ in model.named_parameters()}
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert coarse["pos_embed"] == coarse["token_blocks.1.norm1.weight"]


def test_drop_path_grows_with_depth():
    model = HCoAtNet(**TINY, drop_path_rate=0.6)
    rates = [m.drop_prob for m in model.modules() if type(m).__name__ == "DropPath"]
    in_depth_order = [block.drop_path for s in (0, 1) for block in model.stages[s].blocks]
    in_depth_order += [block.drop_path for block in model.token_blocks]
    in_depth_order += [block.drop_path for s in (2, 3) for block in model.stages[s].blocks]
    told = [getattr(layer, "drop_prob", 0.0) for layer in in_depth_order]
    assert told == pytest.approx([0.1 * i for i in range(7)])
    assert max(rates) == pytest.approx(0.6)


def test_only_global_average_pooling():
    with pytest.raises(ModelError, match=r"global_pool of this family must be 'avg'. Got 'max'"):
        HCoAtNet(**TINY).reset_classifier(2, "max")


def test_nano_overfits():
    torch.manual_seed(0)
    model = timm.create_model("chiron_h_coatnet_nano", num_classes=2, img_size=48)
    images, targets = torch.randn(16, 3, 48, 48), torch.arange(16) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=7e-4)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert (model.eval()(images).argmax(dim=1) == targets).all()


def test_donor_fills_stem_and_stages(full):
    donor = DONORS["chiron_h_coatnet"]
    with torch.device("meta"):
        theirs = timm.create_model(donor.name, pretrained=False).state_dict()
    ours = full.state_dict()
    names = {donor.rename(name): tensor.shape for name, tensor in theirs.items() if donor.rename(name)}
    assert {name: ours[name].shape for name in names} == names
    assert set(names) == {name for name in ours if name.startswith(("stem.", "stages."))}
    assert {name for name in theirs if donor.rename(name) is None} == {
        "head.norm.weight",
        "head.norm.bias",
        "head.fc.weight",
        "head.fc.bias",
    }
