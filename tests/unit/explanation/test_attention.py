import math

import pytest
import timm
import torch
import torch.nn.functional as F
from einops import rearrange
from explained import network_of, subject_of
from timm.models.swin_transformer import SwinTransformer
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from chiron.core.errors import ExplainError
from chiron.explanation.attention import attention_layers, why_no_attention
from chiron.models.headed import put_head


def openly(subject):
    """timm's own weights, without the fused kernel, and the gradients of the score with respect to them."""
    blocks = [it.attn for it in subject.network.blocks]
    seen = []
    handles = [
        it.attn_drop.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0])) for it in blocks
    ]
    for attn in blocks:
        attn.fused_attn = False
    score = subject.score(subject.outputs())
    for attn, handle in zip(blocks, handles, strict=True):
        attn.fused_attn = True
        handle.remove()
    return seen, torch.autograd.grad(score.sum(), seen)


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "test_vit4", "test_vit_relpos"])
def test_is_what_timm_computes_without_its_fused_kernel(name):
    subject = subject_of(name)
    layers = attention_layers(subject)
    weights, gradients = openly(subject)
    assert len(layers.weights) == len(weights) > 1
    for found, reference in zip((*layers.weights, *layers.gradients), (*weights, *gradients), strict=True):
        torch.testing.assert_close(found, reference, atol=1e-6, rtol=1e-4)
    assert layers.grid == (4, 4)


def test_is_the_softmax_of_queries_and_keys():
    subject = subject_of("chiron_vit_scratch_nano")
    block = subject.network.blocks[-1]
    seen = []
    handle = block.attn.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output))
    layers = attention_layers(subject)
    handle.remove()
    q, k, _ = rearrange(seen[0].detach(), "b n (three h d) -> three b h n d", three=3, h=3)
    for head in range(3):
        for query in range(q.shape[2]):
            products = torch.stack([q[1, head, query] @ key for key in k[1, head]]) / math.sqrt(q.shape[-1])
            expected = products.exp() / products.exp().sum()
            torch.testing.assert_close(layers.weights[-1][1, head, query], expected)


def test_the_class_token_is_read_where_the_score_depends_on_it():
    torch.testing.assert_close(attention_layers(subject_of("test_vit")).readers, torch.eye(17)[:1].expand(3, -1))


def test_all_places_are_read_where_the_network_takes_their_mean():
    expected = torch.full((3, 17), 1 / 16)
    expected[:, 0] = 0  # the class token is there, and nothing reads it
    torch.testing.assert_close(attention_layers(subject_of("test_vit2")).readers, expected)


def test_a_pooling_query_is_the_last_layer():
    layers = attention_layers(subject_of("test_vit3"))
    assert layers.weights[-1].shape == (3, 3, 1, 17)
    assert len(layers.weights) == 10
    assert layers.as_maps(layers.weights[-1]).shape == (3, 3, 4, 4)


def test_maps_leave_the_tokens_before_the_grid_out():
    layers = attention_layers(subject_of("test_vit"))
    rows = torch.arange(17.0).expand(3, 17, 17)
    assert layers.as_maps(rows)[2].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]


def test_a_grid_that_is_not_square():
    network = network_of("test_vit", (32, 64))
    layers = attention_layers(subject_of(network, torch.randn(2, 3, 32, 64), (0, 1)))
    assert layers.grid == (2, 4)


@pytest.mark.parametrize("name", ["chiron_gft_nano", "chiron_gft_corrected_nano"])
def test_pruned_tokens_stand_where_they_were(name):
    subject = subject_of(name)
    layers = attention_layers(subject)
    named = subject.network.forward_named(subject.image)
    assert len(layers.weights) == 6  # three blocks, three stages
    last, gradient, kept = layers.weights[-1], layers.gradients[-1], named.kept_tokens[-2]
    for image in range(3):
        slots = [0, *(1 + kept[image]).tolist()]
        torch.testing.assert_close(last[image][:, slots][:, :, slots], named.attn[-1][image])
        gone = [it for it in range(65) if it not in slots]
        assert torch.equal(last[image][:, gone], torch.eye(65)[gone].expand(3, -1, -1))
        assert not gradient[image][:, gone].any()
        assert gradient[image][:, 0, slots].abs().min() > 0
    assert torch.equal(layers.readers, torch.eye(65)[:1].expand(3, -1))


def test_kept_tokens_in_an_order_of_their_own():
    """Without a class token, and strongest first: a token's weights go to the place where it stood."""
    subject = subject_of(network_of("chiron_h_coatnet_corrected_nano", 96), torch.randn(2, 3, 96, 96), (0, 1))
    attn, seen = subject.network.pruned_blocks[-1][-1].attn, []
    handle = attn.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    layers = attention_layers(subject)
    handle.remove()
    q, k, _ = rearrange(seen[-1], "b n (three h d) -> three b h n d", three=3, h=attn.num_heads)
    expected = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(dim=-1)
    kept = subject.network.forward_named(subject.image).kept_tokens[-1]
    assert layers.grid == (6, 6)
    for image, places in enumerate(kept):
        assert not torch.equal(places, places.sort().values)
        torch.testing.assert_close(layers.weights[-1][image][:, places][:, :, places], expected[image])
        assert torch.equal(layers.readers[image].nonzero()[:, 0], places.sort().values)


def test_of_a_head_only_its_own_attention_counts():
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "num_heads": 2, "ffn_dim": 16}
    backbone = timm.create_model("test_vit", img_size=64)
    headed = put_head(backbone, "class_token", sizes, num_classes=3, in_chans=3, img_size=64).eval()
    subject = subject_of(headed)
    layers = attention_layers(subject)
    for found, expected in zip(layers.weights, headed.forward_named(subject.image).attn, strict=True):
        torch.testing.assert_close(found, expected)


class ChannelAttention(nn.Module):
    """Sixteen channels attend to each other: as many as the image has places of 16 pixels, and yet no places."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, kernel_size=8, stride=8)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        channels = rearrange(self.patches(x), "b d h w -> b 1 d (h w)")
        mixed = F.scaled_dot_product_attention(channels, channels, channels)
        return self.head(mixed.mean(dim=(1, 3)))


def windowed():
    sizes = {"img_size": 64, "patch_size": 4, "window_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 2)}
    return SwinTransformer(**sizes, num_classes=3).eval()


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("chiron_fair_cnn_nano", "it has no softmax attention of tokens"),
        ("chiron_convnextv2_ssa_nano", "it has no softmax attention of tokens"),
        (
            "chiron_hybrid_lung_vit_nano",
            "two sides of the image, not on one grid. Choose cross_attention",
        ),
        (windowed(), "its last attention is within windows or over channels"),
        (ChannelAttention(), "its last attention is within windows or over channels"),
    ],
    ids=["cnn", "one query", "two sides", "windows", "channels"],
)
def test_networks_without_it_are_told_why(network, reason):
    assert reason in why_no_attention(subject_of(network))


def test_asked_for_nevertheless():
    with pytest.raises(ExplainError, match=r"Attention must reach over all places.*SwinTransformer.*Choose another"):
        attention_layers(subject_of(windowed()))


class Masked(nn.Module):
    """Places of the left half attend to each other alone; beside it, an attention that runs fused."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, kernel_size=16, stride=16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        tokens = rearrange(self.patches(x), "b d h w -> b 1 (h w) d")
        is_left = torch.arange(16) % 4 < 2
        mixed = F.scaled_dot_product_attention(tokens, tokens, tokens, is_left.expand(16, 16), scale=0.5)
        causal = F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)
        return self.head((mixed + 0 * causal).mean(dim=(1, 2)))


def test_masks_and_scales_are_those_of_the_network():
    torch.manual_seed(0)
    network = Masked().eval()
    subject = subject_of(network)
    (weights,) = attention_layers(subject).weights
    tokens = rearrange(network.patches(subject.image), "b d h w -> b (h w) d").detach()
    scores = torch.einsum("bqd,bkd->bqk", tokens, tokens) / 2
    scores[..., torch.arange(16) % 4 >= 2] = -torch.inf
    torch.testing.assert_close(weights[:, 0], scores.softmax(dim=2))


class Broken(nn.Module):
    def forward(self, x):
        raise RuntimeError("no memory")


def test_nothing_stays_behind():
    network = network_of("test_vit")
    fused = [it.attn.fused_attn for it in network.blocks]
    attention_layers(subject_of(network))
    with pytest.raises(RuntimeError, match="no memory"):
        attention_layers(subject_of(Broken()))
    assert not _get_current_function_mode_stack()
    assert fused == [it.attn.fused_attn for it in network.blocks] == [True] * len(fused)
    assert all(it.grad is None for it in network.parameters())
    assert not any(it._forward_hooks for it in network.modules())
