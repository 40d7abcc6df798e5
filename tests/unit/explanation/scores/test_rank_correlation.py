"""Rank correlation against scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from chiron.explanation.scores.rank_correlation import rank_correlation


def test_it_is_scipys_with_ties(random):
    first = random.integers(0, 5, (6, 7, 4)).astype(np.float32)
    second = (first + random.integers(0, 6, (6, 7, 4))).astype(np.float32)
    expected = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    made = rank_correlation(torch.from_numpy(first), torch.from_numpy(second))
    assert made.numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_it_knows_ranks_alone_and_their_direction():
    maps = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    for other, value in ((maps.square(), 1), (maps.log(), 1), (-maps, -1), (1 / maps, -1)):
        assert rank_correlation(maps, other).tolist() == pytest.approx([value, value])


def test_a_blank_map_resembles_none():
    maps = torch.rand(1, 5, 5)
    assert rank_correlation(maps, torch.ones(1, 5, 5)).item() == 0
    assert rank_correlation(torch.zeros(1, 5, 5), maps).item() == 0


def test_a_finer_map_is_brought_to_the_grid_of_the_first():
    coarse = torch.arange(16.0).reshape(1, 4, 4)
    fine = coarse.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    assert rank_correlation(coarse, fine).item() == pytest.approx(1)
