"""HybridLungViT: counts, shapes at every step, the cut and its pooling against naive loops, sides that swap."""

from collections import defaultdict

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn
from torch.nn import functional

from chiron.core.errors import ModelError
from chiron.models.create import create_model, example_inputs
from chiron.models.families.hybrid_lung_vit import CrossAttentionFusion, HybridLungViT
from chiron.models.registry import DONORS

TINY = {"img_size": 64, "stem_dim": 24, "stem_depth": 1, "stem_heads": 2, "embed_dim": 16, "encoder_depth": 1}


def build(**changes):
    torch.manual_seed(0)
    return HybridLungViT(**{**TINY, "num_classes": 3, **changes})


def fields(left, right, side=64):
    """A mask of two fields: columns of each, as pixels."""
    mask = torch.zeros(1, 1, side, side)
    for first, last in (left, right):
        mask[:, :, side // 4 : -side // 4, first:last] = 1
    return mask


@pytest.fixture(scope="module")
def full():
    return timm.create_model("chiron_hybrid_lung_vit", num_classes=2).eval()


def test_parameter_counts(full):
    counts = {
        stage: sum(
            p.numel()
            for name, p in full.named_parameters()
            if any(name == q or name.startswith(q + ".") for q in prefixes)
        )
        for stage, prefixes in full.named_stages().items()
    }
    assert counts == {
        "stem": 85_798_656,
        "projection": 196_864,
        "encoders": 2 * (1_579_520 + 16 * 256) + 2 * 256,
        "seg_head": 256 * 64 * 9 + 64 + 64 + 1,
        "fusion": 256 + 263_168 + 512 + 525_568,
        "head": 514,
    }
    assert sum(p.numel() for p in full.parameters()) == 90_100_867


def test_smaller_variants():
    with torch.device("meta"):
        tiny = timm.create_model("chiron_hybrid_lung_vit_tiny", num_classes=2)
    assert sum(p.numel() for p in tiny.parameters()) == 9_679_171
    assert sum(p.numel() for p in tiny.stem.parameters()) == 5_524_416
    nano = timm.create_model("chiron_hybrid_lung_vit_nano", num_classes=2)
    assert sum(p.numel() for p in nano.parameters()) == 137_539


@pytest.mark.parametrize("side", [224, 96])
def test_shapes_at_every_step(full, side):
    shapes = defaultdict(list)
    parts = ["stem.patch_embed", "stem.blocks.11", "stem.norm", "projection", "side_encoder", "global_encoder"]
    parts += ["fusion.norm", "seg_head", "head"]
    handles = [
        full.get_submodule(part).register_forward_hook(
            lambda m, inputs, output, part=part: shapes[part].append(
                tuple(inputs[0].shape) + tuple(output.shape) if part == "seg_head" else tuple(output.shape)
            )
        )
        for part in parts
    ]
    inputs = example_inputs(full, torch.randn(2, 3, side, side))
    with torch.no_grad():
        outputs = full.forward_named(*inputs)
    for handle in handles:
        handle.remove()
    grid = side // 16
    assert shapes == {
        "stem.patch_embed": [(2, grid, grid, 768)],  # kept as a grid, so that positions can interpolate
        "stem.blocks.11": [(2, grid**2 + 1, 768)],
        "stem.norm": [(2, grid**2 + 1, 768)],
        "projection": [(2, 256, grid, grid)],
        "side_encoder": [(2, 16, 256)] * 2,
        "fusion.norm": [(2, 1, 256)],
        "seg_head": [(2, 256, 4 * grid, 4 * grid, 2, 1, side, side)],
        "head": [(2, 2)],
    }
    assert outputs.logits.shape == (2, 2)
    assert [tuple(weights.shape) for weights in outputs.attn] == [(2, 4, 1, 32)]
    assert outputs.mask_logits.shape == (2, 1, side, side)


def test_full_size_learns_at_the_smallest_size():
    with torch.device("meta"):
        model = timm.create_model("chiron_hybrid_lung_vit_tiny", num_classes=2)
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    model(*example_inputs(model, torch.randn(2, 3, 16, 16))).sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == model.parameters_not_learned


def test_stem_is_timms_deit():
    torch.manual_seed(0)
    theirs = timm.create_model("deit_tiny_patch16_224", num_classes=0, depth=2, img_size=64).double()
    ours = build(stem_dim=192, stem_depth=2, stem_heads=3).double()
    ours.stem.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    tokens = theirs.forward_features(images)[:, 1:]
    projected = ours.projection(tokens.transpose(1, 2).reshape(2, 192, 4, 4))
    expected = functional.interpolate(projected, size=(16, 16), mode="bilinear")
    assert (ours.forward_maps(images) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["chiron_hybrid_lung_vit", "chiron_hybrid_lung_vit_tiny"])
def test_donor_fills_the_stem_and_nothing_else(name):
    donor = DONORS[name]
    with torch.device("meta"):
        ours = timm.create_model(name, num_classes=2).state_dict()
        theirs = timm.create_model(donor.name, pretrained=False).state_dict()
    renamed = {donor.rename(key): tensor.shape for key, tensor in theirs.items()}
    assert renamed.pop(None) is not None
    assert {key for key in theirs if donor.rename(key) is None} == {"head.weight", "head.bias"}
    assert renamed == {key: tensor.shape for key, tensor in ours.items() if key.startswith("stem.")}


def test_fusion_equals_torchs_attention():
    torch.manual_seed(0)
    layer = CrossAttentionFusion(16, num_heads=4, drop_rate=0.1).double().eval()
    nn.init.normal_(layer.cls_token)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).double()
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([layer.q.weight, layer.kv.weight]),
            "in_proj_bias": torch.cat([layer.q.bias, layer.kv.bias]),
            "out_proj.weight": layer.proj.weight,
            "out_proj.bias": layer.proj.bias,
        }
    )
    tokens = torch.randn(3, 10, 16, dtype=torch.float64)
    query = layer.cls_token.expand(3, 1, 16)
    mixed, weights = theirs(query, tokens, tokens, average_attn_weights=False)
    x = functional.layer_norm(query + mixed, (16,), layer.norm.weight, layer.norm.bias, 1e-6)
    expected = x + layer.mlp.fc2(functional.gelu(layer.mlp.fc1(x)))
    ours, ours_weights = layer(tokens)
    assert (ours - expected[:, 0]).abs().max() <= 1e-9
    assert (ours_weights - weights).abs().max() <= 1e-9
    assert (ours_weights.sum(-1) - 1).abs().max() <= 1e-9


def test_sides_swap_when_image_and_mask_are_mirrored():
    torch.manual_seed(0)
    model = build().double()
    maps = torch.randn(2, 16, 16, 16, dtype=torch.float64)
    mask = torch.cat([fields((3, 20), (30, 50)), fields((10, 30), (34, 60))]).double()
    left, right = model.side_tokens(maps, mask)
    mirrored_left, mirrored_right = model.side_tokens(maps.flip(-1), mask.flip(-1))

    def mirrored(tokens):
        return tokens.reshape(2, 4, 4, 16).flip(2).reshape(2, 16, 16)

    assert (mirrored_left - mirrored(right)).abs().max() <= 1e-9
    assert (mirrored_right - mirrored(left)).abs().max() <= 1e-9
    assert (left - mirrored_right).abs().max() > 0.1


def test_image_left_is_left():
    maps = torch.arange(16.0).expand(1, 16, 16, 16)  # each column's number
    left, right = build().side_tokens(maps, fields((8, 24), (40, 56)))  # parted in the middle
    assert left[0, :4, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert right[0, :4, 0].tolist() == [8.5, 10.5, 12.5, 14.5]


def test_sides_are_told_apart_by_their_embedding():
    model = build().eval()
    half = torch.randn(1, 16, 16, 8)
    maps, mask = torch.cat([half, half], dim=3), fields((8, 24), (40, 56))
    tokens = model._tokens(maps, mask)
    assert (tokens[:, :16] - tokens[:, 16:]).abs().max() > 1e-3
    nn.init.zeros_(model.side_embed)
    tokens = model._tokens(maps, mask)
    assert (tokens[:, :16] - tokens[:, 16:]).abs().max() < 1e-6


def test_each_image_is_parted_by_its_own_mask():
    model = build().eval()
    images = torch.randn(2, 3, 64, 64)
    masks = torch.cat([fields((3, 20), (24, 40)), fields((20, 40), (50, 62))])
    together = model(images, masks)
    for b in range(2):
        assert torch.allclose(together[b], model(images[b : b + 1], masks[b : b + 1])[0], atol=1e-6)
    assert (model(images, masks.flip(0)) - together).abs().max() > 1e-6


def test_tokens_of_the_whole_map_are_fused_when_asked():
    model = build(fuse_global=True)
    images, mask = torch.randn(2, 3, 64, 64), fields((3, 20), (30, 50)).expand(2, -1, -1, -1)
    output = model.eval().forward_named(images, mask)
    assert output.attn[0].shape == (2, 4, 1, 48)
    whole = functional.adaptive_avg_pool2d(model.forward_maps(images), 4).flatten(2).transpose(1, 2)
    tokens = model.forward_features(images, mask)
    assert torch.allclose(tokens[:, 32:], model.global_encoder(whole), atol=1e-5)
    model(images, mask).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == model.parameters_not_learned
    assert {name.split(".")[0] for name in model.parameters_not_learned} == {"seg_head"}
    assert {name.split(".")[0] for name in build().parameters_not_learned} == {"seg_head", "global_encoder"}


def dice_and_bce(mask_logits, mask):
    probs = mask_logits.sigmoid()
    dice = 1 - (2 * (probs * mask).sum() + 1) / (probs.sum() + mask.sum() + 1)
    return 0.5 * functional.binary_cross_entropy_with_logits(mask_logits, mask) + 0.5 * dice


def gradients(model, images, masks, weight):
    model.zero_grad(set_to_none=True)
    output = model.forward_named(images, masks)
    loss = functional.cross_entropy(output.logits, torch.arange(len(images)) % 3)
    (loss + weight * dice_and_bce(output.mask_logits, masks)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_a_loss_on_the_mask_reaches_its_head_and_weight_zero_changes_nothing():
    model = build().eval()
    images, masks = torch.randn(3, 3, 64, 64), fields((3, 20), (30, 50)).expand(3, -1, -1, -1).contiguous()
    without, zero, half = (gradients(model, images, masks, weight) for weight in (0.0, 0.0, 0.5))
    model.zero_grad(set_to_none=True)
    functional.cross_entropy(model(images, masks), torch.arange(3) % 3).backward()
    plain = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    head = {name for name, _ in model.named_parameters() if name.startswith("seg_head.")}
    assert not head & set(plain)
    for name, gradient in plain.items():
        assert torch.allclose(zero[name], gradient, atol=1e-7), name
        assert torch.equal(without[name], zero[name])
    assert all(not zero[name].any() for name in head)
    assert all(half[name].any() for name in head)
    assert not torch.allclose(half["projection.weight"], plain["projection.weight"], atol=1e-6)


def test_the_mask_head_learns_the_mask():
    model = build()
    images, masks = torch.randn(4, 3, 64, 64), fields((4, 24), (40, 60)).expand(4, -1, -1, -1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    first = dice_and_bce(model.forward_named(images, masks).mask_logits, masks).item()
    for _ in range(30):
        optimizer.zero_grad()
        loss = dice_and_bce(model.forward_named(images, masks).mask_logits, masks)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * first


def test_positions_interpolate_and_sides_may_differ():
    model = build().eval()
    nn.init.zeros_(model.stem.pos_embed)
    other = build(img_size=(96, 64)).eval()
    state = {key: value for key, value in model.state_dict().items() if key != "stem.pos_embed"}
    other.load_state_dict({**state, "stem.pos_embed": torch.zeros_like(other.stem.pos_embed)})
    images, masks = torch.randn(1, 3, 96, 64), torch.ones(1, 1, 96, 64)
    assert torch.allclose(model(images, masks), other(images, masks), atol=1e-5)
    assert model.forward_maps(images).shape == (1, 16, 24, 16)


@pytest.mark.parametrize("size", [(65, 64), (64, 40), (0, 32)])
def test_a_size_off_the_stride_is_told(size):
    message = rf"multiples of 16 pixels. Got {size[0]} x {size[1]}. Use for example img_size"
    with pytest.raises(ModelError, match=message):
        build()(torch.zeros(1, 3, *size), torch.zeros(1, 1, *size))
    with pytest.raises(ModelError, match=message):
        build(img_size=size)


def test_a_mask_of_another_size_is_told(unchecked):
    message = r"The mask must have the image's size. Got \(32, 32\) for an image of \(64, 64\)"
    for method in ("forward", "forward_named"):
        with pytest.raises(ModelError, match=message):
            getattr(build(), method)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 32, 32))


def test_building_without_a_mask_is_told():
    numbers = {"num_classes": 2, "img_size": 64, "init": "scratch", "seed": 0}
    with pytest.raises(ModelError, match=r"takes an image and its mask. Got input.mask none. Set input.mask: lung"):
        create_model("chiron_hybrid_lung_vit_nano", with_mask=False, **numbers)
    assert create_model("chiron_hybrid_lung_vit_nano", with_mask=True, **numbers).num_classes == 2
    with pytest.raises(ModelError, match=r"chiron_fair_cnn_nano takes an image alone. Got an input with a mask"):
        create_model("chiron_fair_cnn_nano", with_mask=True, **numbers)


def test_only_the_querys_vector_is_pooled():
    with pytest.raises(ModelError, match=r"global_pool of this family must be 'token'. Got 'avg'"):
        build().reset_classifier(2, "avg")


def test_encoders_and_fusion_drop_ten_percent_and_the_stem_nothing():
    network = timm.create_model("chiron_hybrid_lung_vit_nano", num_classes=2)
    rates = {name: layer.p for name, layer in network.named_modules() if isinstance(layer, torch.nn.Dropout)}
    assert {rate for name, rate in rates.items() if name.startswith("stem.")} <= {0}
    assert {rate for name, rate in rates.items() if not name.startswith("stem.")} == {0.1}


def test_dropout_only_in_training():
    model = build(drop_rate=0.5)
    inputs = example_inputs(model, torch.randn(2, 3, 64, 64))
    assert not torch.equal(model.train()(*inputs), model(*inputs))
    assert torch.equal(model.eval()(*inputs), model(*inputs))


def test_autocast_stays_close():
    model = build().eval()
    inputs = example_inputs(model, torch.randn(2, 3, 64, 64))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(*inputs)
    assert torch.isfinite(low).all()
    assert (low.float() - model(*inputs)).abs().max() < 0.05


def test_layer_groups_follow_the_depth():
    model = build(stem_depth=2)
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    order = ["stem.patch_embed.proj.weight", "stem.blocks.0.norm1.weight", "stem.blocks.1.norm1.weight"]
    order += ["projection.weight", "side_encoder.pos_embed", "fusion.q.weight", "head.weight"]
    ids = [layers[name] for name in order]
    assert ids == sorted(set(ids))
    assert set(layers) == {name for name, _ in model.named_parameters()}
    assert model.no_weight_decay() <= set(layers)
    coarse = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    assert coarse["stem.blocks.0.norm1.weight"] == coarse["stem.norm.weight"]


def test_nano_overfits():
    torch.manual_seed(0)
    model = timm.create_model("chiron_hybrid_lung_vit_nano", num_classes=2, drop_rate=0.0)
    inputs, targets = example_inputs(model, torch.randn(16, 3, 64, 64)), torch.arange(16) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(40):
        optimizer.zero_grad()
        functional.cross_entropy(model(*inputs), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert (model.eval()(*inputs).argmax(dim=1) == targets).all()
