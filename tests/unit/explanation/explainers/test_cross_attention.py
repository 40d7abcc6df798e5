import numpy as np
import pytest
import torch
from explained import network_of, subject_of

from chiron.explanation.explainers.cross_attention import explain, spread_over_sides, why_not
from chiron.layers.side_pooling import cut_of_mask

NAME = "chiron_hybrid_lung_vit_nano"
CUTS = [5, 10]  # of the 16 columns, by `sided_masks`


@pytest.fixture
def subject():
    return subject_of(NAME, torch.randn(2, 3, 64, 64), (0, 1))


def test_cuts_are_those_of_the_masks(subject):
    np.testing.assert_allclose(16 * cut_of_mask(subject.inputs[1]), CUTS)


def test_left_tokens_land_on_the_left_of_the_cut(subject):
    for side, (start, end) in enumerate([(0, 1), (1, 2)]):
        weights = torch.zeros(2, 32)
        weights[:, 16 * start : 16 * end] = 1 / 16
        maps = spread_over_sides(subject.network, weights, subject.inputs[1])
        for image, cut in enumerate(CUTS):
            ours = slice(0, cut) if side == 0 else slice(cut, 16)
            assert maps[image, :, ours].sum() == pytest.approx(1)
            assert maps[image].sum() == pytest.approx(1)
            torch.testing.assert_close(
                maps[image, :, ours], torch.full_like(maps[image, :, ours], 1 / maps[image, :, ours].numel())
            )


def test_a_token_is_spread_over_its_own_bin(subject):
    weights = torch.zeros(2, 32)
    weights[0, 16 + 4 * 3 + 1] = 1  # right side, last row, second column
    maps = spread_over_sides(subject.network, weights, subject.inputs[1])
    expected = torch.zeros(16, 16)
    start, end = 5 + 11 / 4, 5 + 2 * 11 / 4  # 7.75 to 10.5
    shares = [max(0.0, min(end, column + 1) - max(start, column)) / (end - start) for column in range(16)]
    expected[12:16] = torch.tensor(shares) / 4
    torch.testing.assert_close(maps[0], expected)


def test_the_map_is_the_mean_of_the_heads(subject):
    weights = subject.network.forward_named(*subject.inputs).attn[-1].mean(dim=1)[:, 0]
    maps = explain(subject)
    torch.testing.assert_close(maps, spread_over_sides(subject.network, weights.detach(), subject.inputs[1]))
    for image, cut in enumerate(CUTS):
        torch.testing.assert_close(maps[image, :, :cut].sum(), weights[image, :16].sum())


def test_the_whole_map_s_tokens_where_they_are_fused():
    network = type(network_of(NAME))(
        num_classes=3, img_size=64, stem_dim=48, stem_depth=1, stem_heads=3, embed_dim=32, fuse_global=True
    ).eval()
    subject = subject_of(network, torch.randn(2, 3, 64, 64), (0, 1))
    weights = torch.zeros(2, 48)
    weights[:, 32] = 1
    maps = spread_over_sides(network, weights, subject.inputs[1])
    expected = torch.zeros(16, 16)
    expected[:4, :4] = 1 / 16
    torch.testing.assert_close(maps, expected.expand(2, -1, -1))
    torch.testing.assert_close(explain(subject).sum(dim=(1, 2)), torch.ones(2))


def test_others_are_told_why():
    assert why_not(subject_of(NAME)) is None
    assert "for the family hybrid_lung_vit; choose grad_cam" in why_not(subject_of("test_vit"))
