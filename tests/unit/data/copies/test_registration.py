"""Aligned copies agree, different pictures do not, and pictures without structure never do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textures import brightened, cropped, halved, texture, through_jpeg

from chiron.data.copies.registration import PLANE_SIDE, agreement, plane


@pytest.mark.parametrize(
    "copied",
    [halved, through_jpeg, lambda image: brightened(image, 1.2), lambda image: brightened(image, 0.8)],
)
def test_copies_agree(copied):
    for seed in range(5):
        image = texture(seed)
        assert agreement(plane(image), plane(copied(image))) > 0.95


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 50), top=st.floats(0, 1), left=st.floats(0, 1), share=st.floats(0.86, 1))
def test_crops_agree_whichever_comes_first(seed, top, left, share):
    image = texture(seed)
    whole, part = plane(image), plane(through_jpeg(cropped(image, top, left, share)))
    assert agreement(whole, part) > 0.85
    assert agreement(part, whole) > 0.85


@settings(max_examples=60, deadline=None)
@given(first=st.integers(0, 1000), second=st.integers(0, 1000))
def test_different_pictures_do_not_agree(first, second):
    value = agreement(plane(texture(first)), plane(texture(second)))
    assert value == 1 if first == second else value < 0.6


def test_a_dark_rim_that_two_pictures_share_makes_no_copy():
    y, x = np.mgrid[-1:1:120j, -1:1:160j]
    lit = (np.hypot(y, x) < 1.0)[..., None]
    for seed in range(0, 12, 2):
        first, second = (plane(texture(k, weight=0.6) * lit) for k in (seed, seed + 1))
        assert agreement(first, second) < 0.72  # 0.8 where contrast is not evened


def test_score_is_the_plain_correlation_where_nothing_moved():
    """With noise of known size on both, the correlation is that of the fine structure, known by variance."""
    random = np.random.default_rng(0)
    base, noise = (random.normal(0, 20, (2, PLANE_SIDE, PLANE_SIDE))).astype(np.float32)
    expected = 1 / np.sqrt(1 + 0.25)  # noise of half the spread on one of the two
    assert agreement(base, base + noise / 2) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("other", [np.zeros((96, 96), np.float32), np.full((96, 96), 200, np.float32)])
def test_flat_pictures_agree_with_nothing(other):
    flat = np.full((96, 96), 200, np.float32)
    assert agreement(flat, other) == 0
    assert agreement(flat, plane(texture(0))) == 0
    ramp = np.broadcast_to(np.linspace(0, 255, 96, dtype=np.float32), (96, 96)).copy()
    assert agreement(ramp, flat) == 0


def test_plane_weighs_colors_as_luma():
    image = np.zeros((200, 150, 3), np.uint8)
    image[..., 1] = 100
    np.testing.assert_allclose(plane(image), 58.7, atol=0.1)
    assert plane(texture(0, channels=1)).shape == (96, 96)
