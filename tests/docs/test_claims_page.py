"""The page of claims is what its data file says, and the arithmetic on it is right."""

from itertools import product

import pytest
from claims_page import PAGE, is_possible, page, possible_sizes, rates_of, read_claims
from statsmodels.stats.proportion import proportion_confint


def test_the_page_is_the_one_that_the_file_makes():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/claims_page.py writes it anew"


def test_a_share_is_possible_where_a_count_rounds_to_it():
    for n in (7, 158, 237):
        there = {f"{100 * k / n:.2f}" for k in range(n + 1)}
        assert all(is_possible(percent, n) for percent in there)
    assert not is_possible("90.51", 237)
    assert is_possible("90.51", 158)


def test_the_seven_accuracies_fit_158_images_and_no_237():
    stated = [c["percent"] for c in read_claims()["claims"] if c["source"].endswith("H-CoAtNet-Ichthyosis")]
    assert possible_sizes(stated, range(100, 400)) == [158, 316]
    assert [percent for percent in stated if not is_possible(percent, 237)] == ["90.51", "82.91", "66.46"]


def test_the_confusion_matrix_is_the_only_one_of_its_four_rates():
    """All matrices of 390 and 390 images are tried."""
    counts = read_claims()["confusion"]
    told = [f"{rates_of(counts)[name]:.4f}" for name in ("accuracy", "precision", "sensitivity", "F1")]
    assert told == ["0.9000", "0.8436", "0.9821", "0.9076"]
    fitting = []
    for fn, fp in product(range(390), repeat=2):
        if abs((fn + fp) / 780 - 0.1) < 5e-5:
            rates = rates_of({"tp": 390 - fn, "fn": fn, "tn": 390 - fp, "fp": fp})
            if [f"{rates[name]:.4f}" for name in ("accuracy", "precision", "sensitivity", "F1")] == told:
                fitting.append((fn, fp))
    assert fitting == [(counts["fn"], counts["fp"])]
    assert rates_of(counts)["specificity"] == pytest.approx(319 / 390)


def test_intervals_are_wilsons():
    low, high = proportion_confint(143, 158, method="wilson")
    assert f"{100 * low:.1f}–{100 * high:.1f} %" in next(line for line in page().splitlines() if "90.51" in line)
