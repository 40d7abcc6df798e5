"""Sample sizes: published examples, equality with statsmodels, and power found by simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from chiron.core.errors import MetricError
from chiron.metrics.intervals.auroc import placements
from chiron.metrics.sample_size import (
    auroc_half_width,
    cases_for_auroc,
    cases_for_aurocs,
    cases_for_share,
    design_effect,
    detectable_auroc,
    detectable_share,
    hanley_mcneil_variance,
    in_groups,
    paired_auroc_error,
    pairs_for_shares,
    pairs_not_inferior,
    share_half_width,
)


@pytest.mark.parametrize(("share", "half_width"), [(0.9, 0.05), (0.95, 0.02), (0.5, 0.1), (0.99, 0.01)])
def test_a_share_takes_the_fewest_cases_by_statsmodels_wilson(share, half_width):
    cases = cases_for_share(share, half_width)

    def half(n):
        low, high = proportion_confint(share * n, n, method="wilson")
        return (high - low) / 2

    assert half(cases) <= half_width < half(cases - 1)
    assert share_half_width(share, cases) == pytest.approx(half(cases), abs=1e-12)


def test_mcnemar_by_connor_is_that_of_published_calculators():
    assert pairs_for_shares(0.40, 0.50) == 23
    assert pairs_for_shares(0.15, 0.45) == 155


@pytest.mark.parametrize("discordant", [0.1, 0.3])
def test_the_detectable_difference_undoes_the_sample_size(discordant):
    difference = 0.05
    cases = pairs_for_shares(difference, discordant)
    assert detectable_share(cases, discordant) <= difference < detectable_share(cases - 1, discordant)
    assert detectable_share(5, 0.1) is None


def test_power_of_mcnemar_is_what_was_planned():
    rng, difference, discordant = np.random.default_rng(0), 0.06, 0.2
    cases = pairs_for_shares(difference, discordant, power=0.8)
    better, worse = (discordant + difference) / 2, (discordant - difference) / 2
    found = rng.multinomial(cases, [better, worse, 1 - discordant], size=4000)
    z = (found[:, 0] - found[:, 1]) / np.sqrt(found[:, 0] + found[:, 1])
    power = (np.abs(z) > 1.959964).mean()
    assert power == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / 4000) + 0.005)


def test_power_of_non_inferiority_is_what_was_planned():
    rng, margin, discordant = np.random.default_rng(1), 0.05, 0.2
    cases = pairs_not_inferior(margin, discordant)
    found = rng.multinomial(cases, [discordant / 2, discordant / 2, 1 - discordant], size=4000)
    difference = (found[:, 0] - found[:, 1]) / cases
    error = np.sqrt((found[:, :2].sum(axis=1) / cases - difference**2) / cases)
    power = (difference - 1.959964 * error > -margin).mean()
    assert power == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / 4000) + 0.01)


def test_the_variance_of_an_auroc_is_that_of_exponential_scores():
    rng, num_positive, num_negative, auroc = np.random.default_rng(2), 40, 60, 0.85
    scale = auroc / (1 - auroc)  # of exponential scores with this AUROC
    values = []
    for _ in range(800):
        scores = np.concatenate([rng.exponential(scale, num_positive), rng.exponential(1, num_negative)])
        positive = np.arange(100) < num_positive
        values.append(placements(positive, scores, np.arange(100)).value)
    expected = hanley_mcneil_variance(auroc, num_positive, num_negative)
    assert np.var(values) == pytest.approx(expected, rel=0.17)
    assert np.mean(values) == pytest.approx(auroc, abs=0.005)


def test_power_of_two_aurocs_by_simulation():
    """Correlated normal scores; the correlation of the two AUROCs is taken from the draws, as a pilot would give it."""
    rng, sets = np.random.default_rng(3), 400
    first, second, prevalence = 0.80, 0.88, 0.4
    shift = np.sqrt(2) * stats.norm.ppf([first, second])

    def draw(positives, negatives):
        found = []
        for _ in range(sets):
            shared, own = (
                rng.standard_normal((positives + negatives, 1)),
                rng.standard_normal((positives + negatives, 2)),
            )
            scores = 0.8 * shared + 0.6 * own
            scores[:positives] += shift
            ranks = stats.rankdata(scores, axis=0)[:positives].sum(axis=0)
            found.append((ranks - positives * (positives + 1) / 2) / (positives * negatives))
        return np.array(found)

    pilot = draw(80, 120)
    correlation = np.corrcoef(pilot.T)[0, 1]
    cases = cases_for_aurocs(first, second, prevalence, correlation=correlation)
    sides = round(cases * prevalence), cases - round(cases * prevalence)
    drawn = draw(*sides)
    z = (drawn[:, 1] - drawn[:, 0]) / paired_auroc_error(first, second, *sides, correlation=correlation)
    assert (z > 1.959964).mean() == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / sets) + 0.04)


def test_an_auroc_takes_the_fewest_cases_and_more_where_a_class_is_rare():
    cases = cases_for_auroc(0.9, 0.04, 0.2)
    assert auroc_half_width(0.9, cases * 0.2, cases * 0.8) <= 0.04
    assert auroc_half_width(0.9, (cases - 1) * 0.2, (cases - 1) * 0.8) > 0.04
    assert cases_for_auroc(0.9, 0.04, 0.05) > cases


def test_the_detectable_auroc_is_found_by_the_power_formula():
    difference = detectable_auroc(0.85, 100, 300)
    error = paired_auroc_error(0.85, 0.85 + difference, 100, 300, correlation=0.5)
    assert difference / error == pytest.approx(stats.norm.ppf(0.975) + stats.norm.ppf(0.8), abs=1e-6)
    assert detectable_auroc(0.95, 5, 5) is None


def test_groups_hold_less_than_their_images():
    assert design_effect(1, 0.7) == 1
    assert in_groups(100, 4, 0.0) == 25
    assert in_groups(100, 4, 1.0) == 100
    assert in_groups(100, 4, 0.5) == 63


def test_more_is_needed_against_a_margin_than_nothing():
    assert cases_for_aurocs(0.9, 0.9, 0.5, margin=0.02) > cases_for_aurocs(0.9, 0.9, 0.5, margin=0.04)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: cases_for_share(1.0, 0.1), "expected share must lie between 0 and 1"),
        (lambda: cases_for_share(0.5, 1e-6), "cases do not fulfill"),
        (lambda: pairs_for_shares(0.2, 0.1), "differ by at most the share of cases on which they disagree"),
        (lambda: pairs_not_inferior(0.02, 0.1, difference=-0.03), "What is to be shown must be expected"),
        (lambda: cases_for_aurocs(0.9, 0.9, 0.5), "must not be 0"),
        (lambda: cases_for_aurocs(0.9, 1.1, 0.5), "expected AUROC must lie"),
    ],
)
def test_what_cannot_be_is_refused(call, told):
    with pytest.raises(MetricError, match=told):
        call()
