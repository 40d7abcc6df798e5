"""ViT from scratch: counts, shapes, start values, equality with a naive transformer, and messages."""

import pytest
import timm
import torch
from torch import nn

from chiron.core.errors import ModelError
from chiron.models.families.vit_scratch import ScratchViT
from chiron.models.registry import DONORS

TINY = {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 3}


@pytest.fixture(scope="module")
def full():
    return timm.create_model("chiron_vit_scratch", num_classes=5).eval()


def drawn(**changes):
    """A network whose tokens and positions are not zero, so that they are seen."""
    torch.manual_seed(0)
    model = ScratchViT(**{**TINY, **changes})
    nn.init.normal_(model.cls_token)
    nn.init.normal_(model.pos_embed)
    return model


def test_parameter_counts(full):
    def count(prefixes):
        return sum(p.numel() for name, p in full.named_parameters() if f"{name}.".startswith(tuple(prefixes)))

    counts = {stage: count([f"{prefix}." for prefix in prefixes]) for stage, prefixes in full.named_stages().items()}
    assert counts.pop("stem") == 3 * 16 * 16 * 192 + 192 + 192 + 197 * 192
    assert counts.pop("head") == 2 * 192 + 192 * 5 + 5
    block = 12 * 192**2 + 9 * 192 + 4 * 192  # projections, their biases, two norms
    assert list(counts.values()) == [block] * 12
    assert sum(p.numel() for p in full.parameters()) == 5_525_381


def test_it_is_the_network_of_the_facts(full):
    assert full.pos_embed.shape == (1, 197, 192)
    assert len(full.blocks) == 12
    assert {block.attn.num_heads for block in full.blocks} == {6}
    assert not full.cls_token.any()
    assert not full.pos_embed.any()
    assert DONORS.get("chiron_vit_scratch") is None


def test_linear_layers_start_as_torch_draws_them(full):
    torch.manual_seed(0)
    for layer in (full.blocks[3].attn.qkv, full.blocks[3].mlp.fc2, full.head):
        bound = layer.in_features**-0.5  # uniform within it, weights and biases
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert 0.0 < layer.bias.abs().max() <= bound


def test_dropout_is_everywhere_but_before_the_classifier():
    model = ScratchViT(**TINY)
    rates = {name: layer.p for name, layer in model.named_modules() if isinstance(layer, nn.Dropout)}
    assert rates.pop("head_drop") == 0.0
    parts = ["attn.attn_drop", "attn.proj_drop", "mlp.drop1", "mlp.drop2"]
    assert rates == dict.fromkeys(["pos_drop", *(f"blocks.{i}.{part}" for i in range(2) for part in parts)], 0.1)
    images = torch.randn(1, 3, 64, 64)
    assert not torch.equal(model.train()(images), model(images))
    without = ScratchViT(**TINY, token_drop_rate=0.0).train()
    assert torch.equal(without(images), without(images))


@pytest.mark.parametrize("side", [224, 160])
def test_shapes_at_every_step(full, side):
    shapes = {}
    parts = ["patch_embed", "pos_drop", "blocks.0", "grid", "blocks.11", "norm"]
    handles = [
        full.get_submodule(part).register_forward_hook(
            lambda module, inputs, output, part=part: shapes.__setitem__(part, tuple(output.shape))
        )
        for part in parts
    ]
    with torch.no_grad():
        logits = full(torch.randn(1, 3, side, side))
        attn = full.forward_named(torch.randn(1, 3, side, side)).attn
    for handle in handles:
        handle.remove()
    grid = side // 16
    tokens = (1, grid * grid + 1, 192)
    assert shapes.pop("patch_embed") == (1, grid, grid, 192)
    assert shapes.pop("grid") == (1, 192, grid, grid)
    assert set(shapes.values()) == {tokens}
    assert logits.shape == (1, 5)
    assert [tuple(weights.shape) for weights in attn] == [(1, 6, tokens[1], tokens[1])] * 12


def naive_attention(attn, tokens):
    """Of one image, a token and a head at a time; also the weights."""
    heads, width = attn.num_heads, tokens.shape[-1] // attn.num_heads
    qkv = tokens @ attn.qkv.weight.T + attn.qkv.bias
    q, k, v = (qkv[:, i * heads * width : (i + 1) * heads * width] for i in range(3))
    mixed, weights = torch.zeros_like(tokens), []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        rows = []
        for n in range(len(tokens)):
            powers = torch.stack([torch.exp(q[n, part] @ k[m, part] / width**0.5) for m in range(len(tokens))])
            rows.append(powers / powers.sum())
            mixed[n, part] = sum(rows[-1][m] * v[m, part] for m in range(len(tokens)))
        weights.append(torch.stack(rows))
    return mixed @ attn.proj.weight.T + attn.proj.bias, torch.stack(weights)


def test_logits_and_attention_equal_a_naive_transformer():
    model = drawn(img_size=48).double().eval()
    image = torch.randn(3, 48, 48, dtype=torch.float64)
    kernel = model.patch_embed.proj
    with torch.no_grad():
        patches = [
            torch.einsum("dchw,chw->d", kernel.weight, image[:, y : y + 16, x : x + 16]) + kernel.bias
            for y in (0, 16, 32)
            for x in (0, 16, 32)
        ]
        tokens = torch.stack([model.cls_token[0, 0], *patches]) + model.pos_embed[0]
        expected_attn = []
        for block in model.blocks:
            mixed, weights = naive_attention(block.attn, block.norm1(tokens))
            tokens = tokens + mixed
            hidden = block.norm2(tokens) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
            tokens = tokens + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
            expected_attn.append(weights)
        first = tokens[0]
        vector = (first - first.mean()) / (first.var(correction=0) + 1e-6).sqrt() * model.norm.weight + model.norm.bias
        expected = model.head.weight @ vector + model.head.bias
        output = model.forward_named(image[None])
        assert (model(image[None])[0] - expected).abs().max() <= 1e-9
    assert (output.logits[0] - expected).abs().max() <= 1e-9
    for weights, naive in zip(output.attn, expected_attn, strict=True):
        assert (weights[0] - naive).abs().max() <= 1e-9


def test_logits_equal_timms_transformer():
    model = drawn().eval()
    theirs = timm.models.VisionTransformer(
        img_size=64, patch_size=16, embed_dim=24, depth=2, num_heads=3, num_classes=3
    ).eval()
    theirs.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert (model(images) - theirs(images)).abs().max() <= 1e-6


def test_position_embedding_interpolates():
    small, large = drawn().eval(), drawn(img_size=(96, 64)).eval()
    weights = small.state_dict()
    everywhere = torch.randn(1, 1, 24)
    small.pos_embed.data = everywhere.expand(1, 17, 24).clone()
    large.load_state_dict({**weights, "pos_embed": everywhere.expand(1, 25, 24)})
    images = torch.randn(1, 3, 96, 64)
    assert torch.allclose(small(images), large(images), atol=1e-5)


def test_wrong_use_is_told():
    with pytest.raises(ModelError, match=r"multiples of 16 pixels\. Got 65 x 64\. Use for example img_size 64"):
        ScratchViT(**TINY)(torch.zeros(1, 3, 65, 64))
    with pytest.raises(ModelError, match=r"multiples of 16 pixels\. Got 8 x 8\. Use for example img_size 16"):
        ScratchViT(**{**TINY, "img_size": 8})
    with pytest.raises(ModelError, match=r"embed_dim must be a multiple of num_heads\. Got 24 and 5"):
        ScratchViT(**{**TINY, "num_heads": 5})
    with pytest.raises(ModelError, match=r"global_pool of this family must be 'token'\. Got 'avg'"):
        ScratchViT(**TINY).reset_classifier(2, "avg")


def test_full_size_trains(full):
    images = torch.randn(2, 3, 32, 32)
    torch.nn.functional.cross_entropy(full(images), torch.tensor([0, 1])).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in full.parameters())


def test_nano_overfits():
    torch.manual_seed(0)
    model = timm.create_model("chiron_vit_scratch_nano", num_classes=2, img_size=48)
    images, targets = torch.randn(16, 3, 48, 48), torch.arange(16) % 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
    assert (model.eval()(images).argmax(dim=1) == targets).all()
