"""Deletion and insertion: a linear network, whose best order is known, and a naive loop."""

import pytest
import torch
from analytic_networks import contributions, linear_subject

from chiron.explanation.scores.controls import reshuffled
from chiron.explanation.scores.deletion_insertion import (
    NUM_CONTROLS,
    NUM_STEPS,
    blurred,
    curves,
    deletion,
    insertion,
    mean_color,
)
from chiron.explanation.scores.evidence import mean_score


def _naive_curve(subject, row, one_map, start, end):
    """One image, one map without ties, pixel by pixel in its order."""
    order = one_map.flatten().argsort(descending=True)
    one = subject.rows(torch.tensor([row]))
    probs = []
    for step in range(NUM_STEPS + 1):
        shown = start[row].clone()
        for place in order[: round(step * len(order) / NUM_STEPS)].tolist():
            where = divmod(place, one_map.shape[1])
            shown[(slice(None), *where)] = end[row][(slice(None), *where)]
        changed = one.showing(shown[None])
        probs.append(changed.probability(changed.outputs()).item())
    return torch.tensor(probs)


def test_curves_are_those_of_a_naive_loop():
    subject = linear_subject(num_images=2, size=10)
    maps = torch.rand(2, 2, 10, 10, generator=torch.Generator().manual_seed(3))
    start, end = subject.image, mean_color(subject.image)
    made = curves(subject, maps, start, end)
    for row in range(2):
        for k in range(2):
            assert made[row, k] == pytest.approx(_naive_curve(subject, row, maps[row, k], start, end), abs=1e-6)


def test_areas_and_gains_are_made_of_curves():
    subject = linear_subject(num_images=2, size=8)
    maps = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(4))
    controls = reshuffled(maps, subject.image, num_draws=NUM_CONTROLS, seed=5)
    for score, start, end, sign in (
        (deletion, subject.image, mean_color(subject.image), -1),
        (insertion, blurred(subject.image), subject.image, 1),
    ):
        made = score(subject, maps, seed=5)
        for row in range(2):
            areas = []
            for one_map in (maps[row], *controls[row]):
                probs = _naive_curve(subject, row, one_map, start, end)
                areas.append(float((probs[1:] + probs[:-1]).sum() / 2 / NUM_STEPS))
            assert float(made.area[row]) == pytest.approx(areas[0], abs=1e-6)
            gain = sign * (areas[0] - sum(areas[1:]) / NUM_CONTROLS)
            assert float(made.gain[row]) == pytest.approx(gain, abs=1e-6)


def test_no_map_deletes_better_than_the_exact_one():
    subject = linear_subject()
    exact = contributions(subject)
    best = deletion(subject, exact)
    for seed in range(10):
        other = torch.rand(exact.shape, generator=torch.Generator().manual_seed(seed))
        assert (deletion(subject, other).area > best.area).all()
    assert (deletion(subject, -exact).area > best.area).all()
    assert (best.gain > 0.1).all()
    assert (insertion(subject, exact).gain > 0.1).all()
    assert (insertion(subject, -exact).gain < -0.1).all()


def test_a_random_map_gains_nothing():
    subject = linear_subject(num_images=80, seed=1)
    for grid in (12, 4):
        maps = torch.rand(80, grid, grid, generator=torch.Generator().manual_seed(6))
        for score in (deletion, insertion):
            found = mean_score("deletion_gain", score(subject, maps).gain)
            assert found.low < 0 < found.high
            assert found.high - found.low < 0.1


def test_the_score_of_an_image_does_not_depend_on_its_batch():
    subject = linear_subject()
    maps = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(7)).sub(0.5).relu()
    rows = torch.tensor([2, 0])
    for score in (deletion, insertion):
        alone, all_of_them = score(subject.rows(rows), maps[rows]), score(subject, maps)
        assert alone.gain == pytest.approx(all_of_them.gain[rows], abs=1e-6)


def test_a_map_twice_as_large_has_the_same_scores():
    subject = linear_subject()
    maps = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(8))
    for score in (deletion, insertion):
        once, twice = score(subject, maps), score(subject, 2 * maps)
        assert torch.equal(once.area, twice.area)
        assert torch.equal(once.gain, twice.gain)


def test_start_and_end_pictures():
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(9))
    assert mean_color(image)[1, 2, 5, 7] == pytest.approx(image[1, 2].mean())
    assert torch.allclose(blurred(torch.full((1, 1, 32, 32), 0.7)), torch.tensor(0.7))
    assert blurred(image).std() < 0.3 * image.std()
