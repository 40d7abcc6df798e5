"""H-CoAtNet, corrected: counts, shapes, what is kept and by what factor, and that scores learn."""

import pytest
import timm
import torch
from timm.models import group_parameters

from chiron.core.errors import ModelError
from chiron.layers.token_pruning import keep_top
from chiron.models.describe import count_macs
from chiron.models.families.h_coatnet_corrected import HCoAtNetCorrected
from chiron.models.registry import DONORS

TINY = {
    "img_size": 64,
    "depths": (1, 1, 1),
    "dims": (8, 12, 16),
    "pruned_depths": (1, 2),
    "num_heads": 2,
    "num_classes": 3,
    "ls_init_value": 0.5,
}


@pytest.fixture(scope="module")
def full():
    return timm.create_model("chiron_h_coatnet_corrected", num_classes=5).eval()


def tiny(**changes):
    torch.manual_seed(0)
    model = HCoAtNetCorrected(**{**TINY, **changes})
    torch.nn.init.normal_(model.pruned_pos_embed)
    return model


def test_parameter_counts(full):
    def count(prefixes):
        return sum(p.numel() for name, p in full.named_parameters() if f"{name}.".startswith(tuple(prefixes)))

    counts = {stage: count([f"{prefix}." for prefix in prefixes]) for stage, prefixes in full.named_stages().items()}
    assert counts["stem"] == 4_896
    assert counts["stage1"] == 237_888
    assert counts["stage2"] == 992_256
    assert counts["tokens"] == 150_528 + 888_576
    assert counts["stage3"] == 11_112_960
    positions, gates = 196 * 384, 2 * (2 * 384 * 24 + 24 + 384)
    block = 12 * 384**2 + 6 * 384 + 4 * 384  # projections; biases of proj, fc1, fc2; two norms
    assert counts["pruning"] == positions + gates + 8 * block
    assert counts["head"] == 2 * 384 + 384 * 5 + 5
    assert sum(p.numel() for p in full.parameters()) == sum(counts.values()) == 27_689_237


def test_nano_is_small():
    model = timm.create_model("chiron_h_coatnet_corrected_nano", num_classes=2)
    assert sum(p.numel() for p in model.parameters()) == 614_534


@pytest.mark.parametrize(("side", "grids", "kept"), [(224, (56, 28, 14), (147, 98)), (160, (40, 20, 10), (75, 50))])
def test_shapes_at_every_step(full, side, grids, kept):
    shapes = {}
    parts = ["stem", "stages.0", "stages.1", "token_blocks", "stages.2", "gates.0", "pruned_blocks.0", "gates.1"]
    parts += ["pruned_blocks.1", "grid", "norm"]

    def note(part):
        def hook(module, inputs, output):
            shapes[part] = tuple((output[0] if isinstance(output, tuple) else output).shape)

        return hook

    handles = [full.get_submodule(part).register_forward_hook(note(part)) for part in parts]
    with torch.no_grad():
        output = full.forward_named(torch.randn(1, 3, side, side))
    for handle in handles:
        handle.remove()
    a, b, c = grids
    assert shapes == {
        "stem": (1, 96, a, a),
        "stages.0": (1, 96, a, a),
        "stages.1": (1, 192, b, b),
        "token_blocks": (1, b * b, 192),
        "stages.2": (1, 384, c, c),
        "gates.0": (1, c * c, 384),
        "pruned_blocks.0": (1, kept[0], 384),
        "gates.1": (1, kept[0], 384),
        "pruned_blocks.1": (1, kept[1], 384),
        "grid": (1, 384, c, c),
        "norm": (1, 384),
    }
    assert output.logits.shape == (1, 5)
    assert [tuple(indices.shape) for indices in output.kept_tokens] == [(1, kept[0]), (1, kept[1])]
    assert [tuple(scores.shape) for scores in output.token_scores] == [(1, c * c), (1, kept[0])]


def test_pruning_saves_compute_before_the_last_blocks(full):
    whole = timm.create_model("chiron_h_coatnet_corrected", num_classes=5, keep_ratios=(1.0, 1.0))
    saved = 1 - count_macs(full, 3, 224) / count_macs(whole, 3, 224)
    assert saved > 0.14


def test_pruning_equals_its_steps_one_image_at_a_time():
    model = tiny(img_size=96).double().eval()
    maps = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    grid, (first, second), scores = model.prune(maps)
    for b in range(2):
        columns = torch.stack([maps[b, :, n // 6, n % 6] + model.pruned_pos_embed[0, n] for n in range(36)])
        places = list(range(36))
        for pruning, (keep, kept) in enumerate([(27, first), (18, second)]):
            gated = model.gates[pruning](columns[None])[0][0]
            lengths = [gated[n].norm() for n in range(len(places))]
            assert torch.allclose(scores[pruning][b], torch.stack(lengths), rtol=0, atol=1e-9)
            order = sorted(range(len(places)), key=lambda n, lengths=lengths: -lengths[n].item())[:keep]
            mean = sum(lengths[n] for n in order) / keep
            columns = model.pruned_blocks[pruning](torch.stack([gated[n] * lengths[n] / mean for n in order])[None])[0]
            places = [places[n] for n in order]
            assert kept[b].tolist() == places
        for n in range(36):
            expected = columns[places.index(n)] if n in places else torch.zeros(16, dtype=torch.float64)
            assert (grid[b, :, n // 6, n % 6] - expected).abs().max() <= 1e-9
        vector = model.norm(columns.mean(dim=0))
        assert (model.forward_head(grid, pre_logits=True)[b] - vector).abs().max() <= 1e-9


def test_logits_reach_the_scores(monkeypatch):
    """In the reading of the code the same gradient is none."""
    seen = []

    def keep(tokens, scores, num_keep):
        scores.retain_grad()
        seen.append(scores)
        return keep_top(tokens, scores, num_keep)

    for family in ("h_coatnet", "h_coatnet_corrected"):
        monkeypatch.setattr(f"chiron.models.families.{family}.keep_top", keep)
    images = torch.randn(2, 3, 64, 64)
    tiny()(images)[:, 0].sum().backward()
    assert len(seen) == 2
    for scores, kept in zip(seen, (12, 8), strict=True):
        assert ((scores.grad != 0).sum(dim=1) == kept).all()
        assert torch.isfinite(scores.grad).all()
    seen.clear()
    timm.create_model("chiron_h_coatnet_nano", num_classes=2, img_size=64)(images)[:, 0].sum().backward()
    assert len(seen) == 2
    assert all(scores.grad is None for scores in seen)


def test_gates_learn_from_the_loss():
    model = tiny()
    torch.nn.functional.cross_entropy(model(torch.randn(2, 3, 64, 64)), torch.tensor([0, 1])).backward()
    for gate in model.gates:
        assert all(p.grad.abs().max() > 0 for p in gate.parameters())
    assert model.pruned_pos_embed.grad.abs().max() > 0


def test_positions_decide_what_is_seen():
    model = tiny(keep_ratios=(1.0, 1.0)).eval()
    maps = torch.randn(1, 16, 4, 4)
    turned = maps.flip(-1)
    assert not torch.allclose(model.forward_head(model.prune(maps)[0]), model.forward_head(model.prune(turned)[0]))
    torch.nn.init.zeros_(model.pruned_pos_embed)
    a, b = (model.forward_head(model.prune(each)[0]) for each in (maps, turned))
    assert torch.allclose(a, b, atol=1e-6)


def test_both_position_embeddings_interpolate():
    small, large = tiny().eval(), tiny(img_size=96).eval()
    weights = small.state_dict()
    for name in ("pos_embed", "pruned_pos_embed"):
        everywhere = torch.randn(1, 1, weights[name].shape[-1])
        getattr(small, name).data = everywhere.expand_as(weights[name]).clone()
        weights[name] = everywhere.expand_as(large.state_dict()[name]).clone()
    large.load_state_dict(weights)
    images = torch.randn(1, 3, 96, 96)
    assert torch.allclose(small(images), large(images), atol=1e-5)


def test_one_token_and_equal_tokens_learn_without_nan():
    for size, blank in ((16, False), (64, True)):
        model = tiny()
        images = torch.zeros(2, 3, size, size) if blank else torch.randn(2, 3, size, size)
        output = model.forward_named(images)
        assert output.kept_tokens[1].shape[1] == (1 if size == 16 else 8)
        output.logits.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_sides_may_differ():
    model = tiny(img_size=(64, 96))
    assert model.pruned_pos_embed.shape == (1, 4 * 6, 16)
    assert model.forward_features(torch.randn(1, 3, 64, 96)).shape == (1, 16, 4, 6)


def test_bf16_keeps_exact_scores():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = tiny().eval().forward_named(torch.randn(2, 3, 64, 64))
    assert output.token_scores[0].dtype == torch.float32
    assert torch.isfinite(output.logits.float()).all()


@pytest.mark.parametrize(("depths", "ratios"), [((1,), (0.75, 0.5)), ((), ())])
def test_blocks_and_prunings_must_match(depths, ratios):
    with pytest.raises(ModelError, match=r"must have one number a pruning\. Got .* Give both the same length"):
        tiny(pruned_depths=depths, keep_ratios=ratios)


def test_ratios_and_sizes_are_checked_as_in_the_first_reading():
    with pytest.raises(ModelError, match="keep_ratios must fall"):
        tiny(keep_ratios=(0.5, 0.75))
    with pytest.raises(ModelError, match=r"multiples of 16 pixels\. Got 72 x 64\. Use for example img_size 64"):
        tiny()(torch.zeros(1, 3, 72, 64))


def test_layer_groups_follow_the_depth():
    model = tiny()
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    order = ["stem.0.weight", "stages.1.blocks.0.gamma", "token_blocks.1.norm1.weight", "stages.2.blocks.0.gamma"]
    order += ["pruned_pos_embed", "gates.0.gate.0.weight", "pruned_blocks.0.0.norm1.weight", "gates.1.gate.0.weight"]
    order += ["pruned_blocks.1.0.norm1.weight", "pruned_blocks.1.1.norm1.weight", "head.weight"]
    ids = [layers[name] for name in order]
    assert ids == sorted(set(ids))
    assert set(layers) == {name for name, _ in model.named_parameters()}
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert coarse["pruned_pos_embed"] == coarse["pruned_blocks.1.1.norm1.weight"] == coarse["gates.0.gate.0.weight"]
    assert model.no_weight_decay() <= set(coarse)


def test_drop_path_grows_with_depth():
    model = tiny(drop_path_rate=0.7)
    layers = [block.drop_path for s in (0, 1) for block in model.stages[s].blocks]
    layers += [block.drop_path for block in model.token_blocks]
    layers += [block.drop_path for block in model.stages[2].blocks]
    layers += [block.drop_path for blocks in model.pruned_blocks for block in blocks]
    assert [getattr(layer, "drop_prob", 0.0) for layer in layers] == pytest.approx([0.1 * i for i in range(8)])


def test_donor_fills_stem_and_three_stages(full):
    donor = DONORS["chiron_h_coatnet_corrected"]
    with torch.device("meta"):
        theirs = timm.create_model(donor.name, pretrained=False).state_dict()
    ours = full.state_dict()
    names = {donor.rename(name): tensor.shape for name, tensor in theirs.items() if donor.rename(name)}
    assert {name: ours[name].shape for name in names} == names
    assert set(names) == {name for name in ours if name.startswith(("stem.", "stages."))}
    assert {name for name in theirs if donor.rename(name) is None} == {
        name for name in theirs if name.startswith(("stages.3.", "head."))
    }


def test_nano_overfits():
    torch.manual_seed(0)
    model = timm.create_model("chiron_h_coatnet_corrected_nano", num_classes=2, img_size=48)
    images, targets = torch.randn(16, 3, 48, 48), torch.arange(16) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert (model.eval()(images).argmax(dim=1) == targets).all()
