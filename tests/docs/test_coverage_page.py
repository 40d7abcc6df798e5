"""The page of coverages is made of the shipped table, and its exact enumerations keep what they promise."""

from scipy import special
from validity_scripts import script

from chiron.metrics.intervals.proportion import clopper_pearson, wilson

pages = script("coverage_page")


def test_the_page_is_up_to_date():
    """Otherwise: python benchmarks/validity/coverage.py data RESULTS.jsonl."""
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page()


def test_wilson_and_clopper_pearson_by_exact_enumeration():
    quantile = float(special.ndtri(0.975))
    for total in (10, 30, 100):
        by_wilson = pages.enumerated(lambda hits, count: wilson(hits, count, quantile=quantile), total)
        assert by_wilson.mean() >= 0.93
        assert pages.enumerated(clopper_pearson, total).min() >= 0.95
        if total == 10:
            assert by_wilson.min() >= 0.83
