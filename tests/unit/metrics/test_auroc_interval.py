"""DeLong and Obuchowski against loops over pairs, the score interval against its equation, the envelope by coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from chiron.metrics.intervals.auroc import (
    auroc_interval,
    delong_logit_interval,
    delong_variance,
    effective_numbers,
    obuchowski_variance,
    placements,
    plain_delong_limits,
    score_interval,
)


def scored(seed, num_images=60, num_groups=None, decimals=1):
    rng = np.random.default_rng(seed)
    positive = np.arange(num_images) % 3 == 0
    group = np.arange(num_images) if num_groups is None else rng.integers(num_groups, size=num_images)
    alike = rng.normal(size=num_images)[group]
    return positive, (rng.normal(size=num_images) + alike + 1.5 * positive).round(decimals), group


def kernel(of_positive, of_negative):
    return 1.0 if of_positive > of_negative else 0.5 if of_positive == of_negative else 0.0


def components(positive, score):
    """V10 and V01 of DeLong by comparing every pair."""
    ones, zeros = score[positive], score[~positive]
    v10 = np.array([np.mean([kernel(x, y) for y in zeros]) for x in ones])
    v01 = np.array([np.mean([kernel(x, y) for x in ones]) for y in zeros])
    return v10, v01


def test_delong_variance_equals_a_loop_over_structural_components():
    positive, score, group = scored(0)
    v10, v01 = components(positive, score)
    placed = placements(positive, score, group)
    np.testing.assert_allclose(placed.of_positives, v10, rtol=0, atol=1e-12)
    np.testing.assert_allclose(placed.of_negatives, v01, rtol=0, atol=1e-12)
    expected = v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01)
    assert delong_variance(placed) == pytest.approx(expected, abs=1e-12)


def test_obuchowski_equals_delong_when_every_image_is_its_own_group():
    placed = placements(*scored(1))
    assert obuchowski_variance(placed) == pytest.approx(delong_variance(placed), abs=1e-15)


def test_obuchowski_equals_the_published_sums_over_groups():
    positive, score, group = scored(2, num_groups=15)
    v10, v01 = components(positive, score)
    value, m, n = v10.mean(), len(v10), len(v01)
    ones, zeros = group[positive], group[~positive]
    groups = np.unique(group)
    i10, i01, i = len(np.unique(ones)), len(np.unique(zeros)), len(groups)
    first = [v10[ones == g].sum() - (ones == g).sum() * value for g in groups]
    second = [v01[zeros == g].sum() - (zeros == g).sum() * value for g in groups]
    s10 = i10 / ((i10 - 1) * m) * np.sum(np.square(first))
    s01 = i01 / ((i01 - 1) * n) * np.sum(np.square(second))
    s11 = i / (i - 1) * np.dot(first, second)
    expected = s10 / m + s01 / n + 2 * s11 / (m * n)
    assert obuchowski_variance(placements(positive, score, group)) == pytest.approx(expected, rel=1e-12)


def test_delong_part_is_on_the_logit_scale_with_t_of_the_scarcer_groups():
    positive, score, group = scored(3, num_groups=30)
    placed = placements(positive, score, group)
    scarcer = min(len(np.unique(group[positive])), len(np.unique(group[~positive])))
    error = np.sqrt(obuchowski_variance(placed)) / (placed.value * (1 - placed.value))
    expected = special.expit(special.logit(placed.value) + stats.t.ppf([0.025, 0.975], scarcer - 1) * error)
    np.testing.assert_allclose(delong_logit_interval(placed), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "m", "n"), [(0.893, 51, 58), (0.5, 10, 10), (0.98, 10, 40), (1.0, 10, 40), (0.0, 3, 9)]
)
def test_score_limits_are_where_the_hanley_mcneil_variance_puts_the_value_at_z(value, m, n):
    """Scans t on a fine grid with the variance written through Q1 and Q2, as Hanley and McNeil give it."""
    t = np.linspace(1e-7, 1 - 1e-7, 2_000_001)
    q1, q2 = t / (2 - t), 2 * t**2 / (1 + t)
    mean_number = (m + n) / 2
    variance = (t * (1 - t) + (mean_number - 1) * (q1 - t**2 + q2 - t**2)) / (m * n)
    inside = t[(value - t) ** 2 <= stats.norm.ppf(0.975) ** 2 * variance]
    low, high = score_interval(value, m, n)
    assert low == pytest.approx(0 if value == 0 else inside.min(), abs=2e-6)
    assert high == pytest.approx(1 if value == 1 else inside.max(), abs=2e-6)


def test_envelope_takes_the_wider_side_of_each():
    for seed in range(5):
        positive, score, group = scored(seed, num_groups=25)
        placed = placements(positive, score, group)
        by_score = score_interval(placed.value, *effective_numbers(placed))
        by_delong = delong_logit_interval(placed)
        interval = auroc_interval(positive, score, group)
        assert interval.low == min(by_score[0], by_delong[0])
        assert interval.high == max(by_score[1], by_delong[1])
        assert "clustered" in interval.method


@pytest.mark.parametrize("reverse", [False, True])
def test_perfect_order_keeps_a_width_from_the_score_part_alone(reverse):
    positive = np.arange(50) >= 40
    score = np.arange(50.0) * (-1 if reverse else 1)
    interval = auroc_interval(positive, score, np.arange(50))
    expected = score_interval(0.0 if reverse else 1.0, 10, 40)
    assert (interval.low, interval.high) == expected
    assert interval.high - interval.low > 0.1
    assert "score part alone" in interval.note


@pytest.mark.parametrize("perfect", [False, True])
def test_doubling_every_image_inside_its_group_does_not_shrink_the_interval(perfect):
    for num_groups in (None, 20):
        positive, score, group = scored(7, num_groups=num_groups)
        group = 2 * group + positive  # images of a group share the class, so that groups add to the variance
        score = score + 100 * positive if perfect else score
        once = auroc_interval(positive, score, group)
        twice = auroc_interval(np.tile(positive, 2), np.tile(score, 2), np.tile(group, 2))
        assert twice.low <= once.low + 1e-12
        assert twice.high >= once.high - 1e-12


def test_groups_of_alike_images_count_less_than_their_images():
    positive, score, group = scored(4, num_images=300, num_groups=40, decimals=6)
    num_positive, num_negative = effective_numbers(placements(positive, score, group))
    assert num_positive < 100
    assert num_negative < 200
    assert num_positive / num_negative == pytest.approx(0.5)
    assert effective_numbers(placements(positive, score, np.arange(300))) == (100, 200)


def coverage(truth, num_sets, *, num_groups, alike, rng):
    """Shares of sets whose envelope, and whose plain DeLong limits, hold the true AUROC (20 % positive groups)."""
    covered = plain = done = 0
    distance = np.sqrt(2) * stats.norm.ppf(truth)
    while done < num_sets:
        size = 1 + rng.poisson(2, num_groups) if alike else np.ones(num_groups, dtype=int)
        group = np.repeat(np.arange(num_groups), size)
        positive = (rng.random(num_groups) < (0.3 if alike else 0.2))[group]
        if positive.all() or positive[~positive].size == 0 or len(np.unique(group[positive])) < 2:
            continue
        own, shared = rng.normal(size=len(group)), rng.normal(size=num_groups)[group]
        score = np.sqrt(1 - alike) * own + np.sqrt(alike) * shared + distance * positive
        interval = auroc_interval(positive, score, group)
        low, high = plain_delong_limits(placements(positive, score, group))
        covered += interval.low <= truth <= interval.high
        plain += low <= truth <= high
        done += 1
    return covered / num_sets, plain / num_sets


@pytest.mark.parametrize(("num_groups", "alike"), [(50, 0.0), (100, 0.7)])
def test_envelope_covers_where_plain_delong_does_not(num_groups, alike):
    envelope, plain = coverage(0.95, 400, num_groups=num_groups, alike=alike, rng=np.random.default_rng(11))
    assert envelope >= 0.935 - 3 * np.sqrt(0.935 * 0.065 / 400)
    assert plain < 0.88


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 5)), min_size=2, max_size=30))
def test_value_lies_inside_and_width_is_never_zero(rows):
    positive, score, group = (np.array(column) for column in zip(*rows, strict=True))
    if positive.all() or not positive.any():
        return
    interval = auroc_interval(positive, score.astype(float), group)
    value = placements(positive, score.astype(float), group).value
    assert 0 <= interval.low <= value <= interval.high <= 1
    assert interval.low < interval.high
