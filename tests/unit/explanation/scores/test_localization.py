"""Whether a map points at a known finding: values worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiron.explanation.scores.localization import energy, iou, pointing


def _mask(size: int, rows: slice, columns: slice) -> torch.Tensor:
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[0, rows, columns] = True
    return mask


def _peak(grid: int, row: int, column: int) -> torch.Tensor:
    one = torch.rand(1, grid, grid, generator=torch.Generator().manual_seed(0)) / 2
    one[0, row, column] = 1
    return one


def test_the_tolerance_of_pointing_is_15_pixels_of_224():
    mask = _mask(224, slice(100, 120), slice(100, 120))
    hits = {column: pointing(_peak(224, 110, column), mask).item() for column in (84, 85, 100, 119, 134, 135)}
    assert hits == {84: 0, 85: 1, 100: 1, 119: 1, 134: 1, 135: 0}
    assert pointing(_peak(224, 90, 90), mask).item() == 1  # 14.1 pixels across the corner
    assert pointing(_peak(224, 88, 88), mask).item() == 0  # 17.0


def test_a_coarse_place_points_with_its_center():
    for place, hit in ((0, 0), (1, 1), (2, 1), (3, 0)):  # centers at 28, 84, 140, 196
        assert pointing(_peak(4, place, place), _mask(224, slice(80, 150), slice(80, 150))).item() == hit


def test_places_that_share_the_largest_value_point_together():
    mask = _mask(224, slice(0, 224), slice(0, 60))
    tied = torch.zeros(1, 4, 4)
    tied[0, 0, 0] = tied[0, 1, 0] = tied[0, 2, 3] = 1
    assert pointing(tied, mask).item() == 1
    tied[0, 3, 3] = 1
    assert pointing(tied, mask).item() == 0
    assert pointing(torch.zeros(1, 4, 4), mask).item() == 0


def test_iou_at_equal_area():
    mask = _mask(4, slice(0, 2), slice(0, 2))
    maps = torch.arange(16.0).reshape(1, 4, 4)
    assert iou(maps, mask).item() == 0
    assert iou(-maps + 16, mask).item() == pytest.approx(2 / 6)  # the first row: two pixels of four inside
    assert iou(mask.float(), mask).item() == 1
    half = mask.float()
    half[0, 0, 2:] = 1  # four pixels of six that tie lie inside: 4 * 4 / 6 of four are expected to
    assert iou(half, mask).item() == pytest.approx((16 / 6) / (8 - 16 / 6))
    assert iou(torch.zeros(1, 4, 4), mask).item() == pytest.approx(1 / 7)  # a quarter of four


def test_energy_is_a_share_of_the_sum():
    mask = _mask(4, slice(0, 2), slice(0, 2))
    maps = torch.ones(1, 4, 4)
    assert energy(maps, mask).item() == pytest.approx(1 / 4)
    maps[0, 0, 0] = 5
    assert energy(maps, mask).item() == pytest.approx(8 / 20)
    assert energy(torch.zeros(1, 4, 4), mask).isnan().all()


def test_an_image_without_a_finding_has_no_score():
    masks = torch.cat([_mask(4, slice(0, 0), slice(0, 0)), _mask(4, slice(0, 2), slice(0, 2))])
    for score in (pointing, iou, energy):
        made = score(torch.rand(2, 2, 2), masks)
        assert made.isnan().tolist() == [True, False]


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_pointing_and_iou_know_ranks_alone(seed):
    random = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, 20, (3, 8, 8), generator=random).float()
    masks = torch.rand((3, 8, 8), generator=random) < 0.3
    for score in (pointing, iou):
        once = score(maps, masks)
        assert np.array_equal(once, score(maps.square(), masks), equal_nan=True)
        assert np.array_equal(once, score(maps / 4, masks), equal_nan=True)
    assert energy(maps, masks).numpy() == pytest.approx(energy(maps * 4, masks).numpy(), nan_ok=True)


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_iou_is_that_of_a_naive_count(seed):
    random = torch.Generator().manual_seed(seed)
    maps = torch.randperm(64, generator=random).reshape(1, 8, 8).float()
    mask = torch.rand((1, 8, 8), generator=random) < 0.4
    if not mask.any():
        mask[0, 0, 0] = True
    chosen = set(maps.flatten().argsort(descending=True)[: int(mask.sum())].tolist())
    inside = set(mask.flatten().nonzero().flatten().tolist())
    assert iou(maps, mask).item() == pytest.approx(len(chosen & inside) / len(chosen | inside))
