"""Copies stand among the nearest thumbnails in the right view, and work grows with the number of images only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textures import cropped, halved, texture, through_jpeg

from chiron.data.copies import candidates
from chiron.data.copies.candidates import NEIGHBORS, find_candidates
from chiron.data.copies.thumbnail import VIEWS, thumbnail, turned

ORIGINALS = 120


@pytest.fixture(scope="module")
def thumbnails() -> np.ndarray:
    return np.stack([thumbnail(texture(seed)) for seed in range(ORIGINALS)])


def with_copy(thumbnails: np.ndarray, copy: np.ndarray) -> dict[tuple[int, int], int]:
    pairs = find_candidates(np.concatenate([thumbnails, thumbnail(copy)[None]]))
    return {(pair.first, pair.second): pair.view for pair in pairs}


@pytest.mark.parametrize("view", range(len(VIEWS)))
def test_view_lays_the_second_on_the_first(thumbnails, view):
    image = texture(7)
    copy = np.moveaxis(turned(np.moveaxis(image[:, :120], -1, 0), view), 0, -1)
    first = np.concatenate([thumbnails[:7], thumbnail(image[:, :120])[None], thumbnails[8:]])
    found = with_copy(first, copy)[7, ORIGINALS]
    laid = turned(np.moveaxis(thumbnail(np.ascontiguousarray(copy)), -1, 0), found)
    assert np.abs(np.moveaxis(laid, 0, -1).astype(int) - first[7]).max() <= 1


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, ORIGINALS - 1), top=st.floats(0, 1), left=st.floats(0, 1))
def test_crops_are_candidates(seed, top, left):
    few = np.stack([thumbnail(texture(k)) for k in {*range(12), seed}])
    copy = thumbnail(cropped(texture(seed), top, left))
    place = sorted({*range(12), seed}).index(seed)
    assert (place, len(few)) in {(p.first, p.second) for p in find_candidates(np.concatenate([few, copy[None]]))}


def test_small_and_reencoded_copies_are_candidates(thumbnails):
    for seed in (0, 50, 119):
        assert with_copy(thumbnails, halved(through_jpeg(texture(seed), 30)))[seed, ORIGINALS] == 0


def test_every_pair_once_and_no_more_than_four_an_image(thumbnails):
    pairs = [(pair.first, pair.second) for pair in find_candidates(thumbnails)]
    assert len(set(pairs)) == len(pairs) <= NEIGHBORS * ORIGINALS
    assert all(a < b for a, b in pairs)
    assert pairs == sorted(pairs)


def test_cells_find_what_comparing_all_with_all_finds(thumbnails, monkeypatch):
    monkeypatch.setattr(candidates, "_BEST_OF_CELL", 60)
    expected = find_candidates(thumbnails)  # 2 cells, both of them probed
    for name, value in (("_PER_CELL", 1000), ("_BLOCK", 40)):
        monkeypatch.setattr(candidates, name, value)
        assert find_candidates(thumbnails) == expected


def test_equal_thumbnails_are_chained(thumbnails):
    pairs = find_candidates(np.concatenate([np.repeat(thumbnails[:1], 1000, axis=0), thumbnails[1:]]))
    among_equal = [(pair.first, pair.second) for pair in pairs if pair.second < 1000]
    assert among_equal == [(k, k + 1) for k in range(999)]
    assert len(pairs) <= 999 + NEIGHBORS * ORIGINALS


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_blank_images_have_no_candidates(count):
    shades = np.arange(count, dtype=np.uint8)[:, None, None, None]
    assert find_candidates(np.broadcast_to(shades, (count, 16, 16, 3)).copy()) == []


def test_one_image_alone_has_no_candidates(thumbnails):
    assert find_candidates(thumbnails[:1]) == []


def test_cropped_readings_reproduce_whole_pixels():
    places = np.arange(16.0)
    np.testing.assert_array_equal(candidates._reader(places), np.eye(16))
    ramp = candidates._reader(np.full(16, 7.25)) @ np.arange(16)
    np.testing.assert_allclose(ramp, 7.25, rtol=1e-6)


@pytest.mark.parametrize(("place", "top", "left"), [(0, 0, 0), (1, 0, 0.5), (4, 0.5, 0.5), (6, 1, 0), (8, 1, 1)])
def test_cropped_readings_are_thumbnails_of_crops(place, top, left):
    image = texture(11, height=320, width=320)
    whole, part = (thumbnail(picture).astype(np.float32) for picture in (image, cropped(image, top, left)))
    read = np.stack([candidates._crops()[place] @ whole[..., c].reshape(-1) for c in range(3)], axis=-1)
    near, far = (np.abs(guess.reshape(part.shape) - part).mean() for guess in (read, whole))
    assert near < 0.4 * far
