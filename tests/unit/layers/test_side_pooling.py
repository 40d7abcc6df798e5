"""The cut of a mask and the pooling beside it, against naive loops and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from chiron.layers.side_pooling import cut_of_mask, pool_between
from chiron.preprocess.lung_mask import cut_of


def fields(left, right, side=64):
    """A mask of two fields: columns of each, as pixels."""
    mask = torch.zeros(1, 1, side, side)
    for first, last in (left, right):
        mask[:, :, side // 4 : -side // 4, first:last] = 1
    return mask


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(2, 40),
    height=st.integers(1, 6),
    share=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    edge=st.sampled_from(["none", "left", "right"]),
)
def test_cut_is_that_of_the_preprocessing(width, height, share, seed, edge):
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    if edge != "none":  # so that the limits are met
        mask[:, width // 5 + 1 :] = 0
        mask = mask[:, ::-1].copy() if edge == "right" else mask
    ours = cut_of_mask(torch.from_numpy(mask).double()[None, None])
    assert ours.item() == pytest.approx(cut_of(mask), abs=1e-12)


def test_cut_is_a_sample_its_own_and_limited():
    masks = torch.cat([fields((10, 28), (40, 44)), fields((0, 4), (0, 4)), torch.zeros(1, 1, 64, 64)])
    expected = [(18 * 19 + 4 * 42) / 22 / 64, 0.25, 0.5]
    assert cut_of_mask(masks).tolist() == pytest.approx(expected)
    assert cut_of_mask(masks.flip(-1)).tolist() == pytest.approx([1 - value for value in expected])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cut_of_mask(masks.bfloat16()), cut_of_mask(masks))


def naive_pool(maps, start, end, grid):
    """Mean of every bin of the map, pixel by pixel with the share of it that lies in the bin."""
    depth, height, width = maps.shape
    tokens = torch.zeros(grid * grid, depth, dtype=maps.dtype)
    for r in range(grid):
        for c in range(grid):
            total = 0.0
            for i in range(height):
                tall = max(0.0, min(i + 1, height * (r + 1) / grid) - max(i, height * r / grid))
                for j in range(width):
                    low = width * (start + (end - start) * c / grid)
                    high = width * (start + (end - start) * (c + 1) / grid)
                    weight = tall * max(0.0, min(j + 1, high) - max(j, low))
                    tokens[r * grid + c] += weight * maps[:, i, j]
                    total += weight
            tokens[r * grid + c] /= total
    return tokens


@pytest.mark.parametrize(("height", "width", "grid"), [(8, 12, 4), (7, 10, 3)])
def test_pooling_equals_a_naive_loop(height, width, grid):
    torch.manual_seed(0)
    maps = torch.randn(3, 2, height, width, dtype=torch.float64)
    start, end = torch.tensor([0.0, 0.37, 0.25]).double(), torch.tensor([0.61, 1.0, 0.2501]).double()
    ours = pool_between(maps, start, end, grid)
    for b in range(3):
        expected = naive_pool(maps[b], start[b].item(), end[b].item(), grid)
        assert (ours[b] - expected).abs().max() <= 1e-9


def test_pooling_of_whole_pixels_is_adaptive_average_pooling_of_the_crop():
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 56, 56, dtype=torch.float64)
    for b, cut in enumerate((24, 36)):
        share = torch.tensor([cut / 56], dtype=torch.float64)
        left = pool_between(maps[b : b + 1], torch.zeros_like(share), share, 4)
        right = pool_between(maps[b : b + 1], share, torch.ones_like(share), 4)
        for tokens, crop in ((left, maps[b, :, :, :cut]), (right, maps[b, :, :, cut:])):
            expected = functional.adaptive_avg_pool2d(crop, 4).flatten(1).T
            assert (tokens[0] - expected).abs().max() <= 1e-9
