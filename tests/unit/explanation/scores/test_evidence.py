"""Means and paired differences of scores, by units."""

import numpy as np
import pytest
import torch

from chiron.core.errors import ExplainError, MetricError
from chiron.explanation.scores.evidence import mean_score, paired_difference


def test_a_signed_mean_has_the_interval_of_its_units(random):
    gains = np.clip(random.normal(0.02, 0.1, 60), -1, 1)
    alone = mean_score("deletion_gain", torch.from_numpy(gains))
    assert alone.value == pytest.approx(gains.mean())
    assert alone.high - alone.low == pytest.approx(2 * 2.0 * gains.std() / np.sqrt(60), rel=0.15)
    copies = mean_score("deletion_gain", torch.from_numpy(np.repeat(gains, 5)), np.repeat(np.arange(60), 5).tolist())
    assert (copies.value, copies.num_images, copies.num_groups) == (pytest.approx(alone.value), 300, 60)
    assert copies.high - copies.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_intervals_of_gains_cover_no_gain(random):
    """With no true gain, 95 of 100 intervals hold 0; the rest lies on both sides."""
    found = [mean_score("insertion_gain", torch.from_numpy(random.uniform(-0.3, 0.3, 25))) for _ in range(60)]
    assert sum(it.low < 0 < it.high for it in found) >= 52


def test_hits_are_a_share_over_images_with_a_finding():
    hits = torch.tensor([1.0] * 30 + [0.0] * 10 + [torch.nan] * 5)
    found = mean_score("pointing", hits)
    assert (found.value, found.num_images) == (0.75, 40)
    assert "Wilson" in found.method
    all_of_them = mean_score("pointing", torch.ones(40))
    assert all_of_them.value == 1
    assert 0.9 < all_of_them.low < 1


def test_a_difference_is_paired(random):
    easy = random.uniform(0.1, 0.6, 50)
    first, second = (torch.from_numpy(easy + shift + random.normal(0, 0.01, 50)) for shift in (0.0, 0.05))
    found = paired_difference("iou", first, second)
    assert found.value == pytest.approx(float((second - first).mean()))
    assert found.low > 0.03
    assert found.high < 0.07
    second[:10] = torch.nan
    assert paired_difference("iou", first, second).num_images == 40
    turned = paired_difference("iou", second, first)
    assert turned.value == pytest.approx(-paired_difference("iou", first, second).value)


def test_what_cannot_be_averaged_is_told():
    with pytest.raises(ExplainError, match=r"A score must be one of deletion.*Got 'insertoin'.*insertion"):
        mean_score("insertoin", torch.zeros(3))
    with pytest.raises(MetricError):
        mean_score("iou", torch.zeros(3), units=["a", "b"])
    nothing = mean_score("iou", torch.full((3,), torch.nan))
    assert (nothing.value, nothing.low, nothing.note) == (None, None, "no image to count")


@pytest.mark.parametrize(("first", "second"), [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_differences_of_hits_that_are_all_alike_have_limits_too(first, second):
    """Wilson by hand for 30 of 30: n / (n + z^2) is the least share that may differ alike."""
    found = paired_difference("pointing", torch.full((30,), first), torch.full((30,), second))
    least = 30 / (30 + 1.959964**2)
    assert found.value == second - first
    assert found.low == pytest.approx(max(-1, (second - first) * least - (1 - least)), abs=1e-6)
    assert found.high == pytest.approx(min(1, (second - first) * least + (1 - least)), abs=1e-6)
    pairs = paired_difference(
        "pointing", torch.full((30,), first), torch.full((30,), second), [k // 3 for k in range(30)]
    )
    assert pairs.high - pairs.low > found.high - found.low  # ten patients say less than thirty
