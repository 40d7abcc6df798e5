"""What the page says of simulated coverage: the shipped table's numbers, and nothing where they do not apply."""

import pytest

from chiron.metrics.intervals.coverage import coverage_of, simulation_error
from chiron.report.format import NBSP, percent
from chiron.report.page import render_report
from chiron.report.simulated_coverage import coverage_sentences


def test_the_shipped_coverages_stand_on_the_page(binary, context_of):
    told = coverage_sentences(binary)
    assert told in render_report(binary, context_of())
    sizes = {"num_images": binary["num_images"], "num_groups": binary["num_groups"]}
    assert binary["num_groups"] < binary["num_images"]
    for key, name in (("auroc", "AUROC"), ("sensitivity", "Sensitivity (recall)"), ("accuracy", "Accuracy")):
        row = coverage_of(key, **sizes)
        assert row.unit == "groups"
        assert f"{name} {percent(row.coverage)}" in told
        assert f"{row.size} groups of several images: " in told
    fewest = coverage_of("auroc", **sizes).sets
    assert f"{fewest}{NBSP}sets a kind" in told
    assert f"standard error of about {100 * simulation_error(fewest):.1f} points" in told


def test_single_cases_are_compared_with_independent_ones(binary):
    binary["num_groups"] = binary["num_images"]
    binary["unit"] = {"name": "patient"}
    assert " independent patients: " in coverage_sentences(binary)


def test_an_interval_outside_its_region_has_no_coverage(binary):
    assert "AUROC" in coverage_sentences(binary)
    binary["overall"]["auroc"]["note"] = "too few cases for a reliable interval (4 of 10 needed, groups)"
    assert "AUROC" not in coverage_sentences(binary)
    binary["overall"]["accuracy"] |= {"low": None, "high": None}
    assert "Accuracy" not in coverage_sentences(binary)


@pytest.mark.parametrize("change", [{"confidence_level": 0.9}, {"overall": {}}])
def test_nothing_is_said_where_nothing_was_simulated(binary, change):
    assert coverage_sentences(binary | change) == ""
