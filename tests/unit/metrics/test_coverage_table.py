"""The shipped table of coverages: read, asked, and passing the gate."""

import pytest

from chiron.metrics.intervals import coverage
from chiron.metrics.intervals.coverage import LIMIT, Simulated, coverage_of, simulated, simulation_error


def row(**changes):
    values = {
        "metric": "auroc",
        "method": "default",
        "unit": "images",
        "size": 150,
        "classes": "two",
        "prevalence": 0.2,
        "level": "ordinary",
        "shape": "equal",
        "correlation": None,
        "sets": 400,
        "null": 0,
        "coverage": 0.95,
        "truth_above": 0.02,
        "width": 0.1,
        "inside": True,
    }
    return Simulated(**(values | changes))


def test_every_default_inside_its_region_passes():
    inside = [one for one in simulated() if one.method == "default" and one.inside]
    assert len(inside) > 1800
    assert [one for one in inside if not one.passes] == []


def test_the_table_has_the_metrics_of_an_evaluation_at_several_sizes():
    metrics = {one.metric for one in simulated() if one.method == "default" and one.inside}
    assert {"accuracy", "sensitivity", "specificity", "ppv", "npv", "auroc", "f1", "brier", "log_loss"} <= metrics
    assert {"average_precision", "balanced_accuracy", "macro_f1", "macro_auroc", "mcc", "kappa", "ece"} <= metrics
    assert {(one.unit, one.size) for one in simulated()} >= {("images", 50), ("images", 150), ("groups", 50)}


def test_three_errors_below_the_limit_pass_and_more_do_not():
    error = simulation_error(400)
    assert error == pytest.approx((LIMIT * (1 - LIMIT) / 400) ** 0.5)
    assert row(coverage=LIMIT - 2.9 * error).passes
    assert not row(coverage=LIMIT - 3.1 * error).passes
    assert row(coverage=LIMIT - 3.1 * error, null=200).passes  # fewer sets, larger error
    assert row(coverage=0.87, metric="specificity").passes  # counted: by exact enumeration never below .83
    assert not row(coverage=0.83 - 3.1 * simulation_error(400, 0.83), metric="specificity").passes
    assert not row(coverage=0.87, metric="specificity", unit="groups", correlation=0.3).passes
    assert row(coverage=0.98).is_conservative
    assert not row(coverage=0.95).is_conservative


@pytest.fixture
def table(monkeypatch):
    rows = (
        row(size=50, coverage=0.91, inside=False),
        row(size=150, coverage=0.96),
        row(size=150, coverage=0.94, prevalence=0.5),
        row(size=600, coverage=0.95),
        row(size=600, coverage=0.70, method="percentile"),
        row(size=100, coverage=0.97, unit="groups", correlation=0.7),
    )
    monkeypatch.setattr(coverage, "simulated", lambda: rows)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("images", "groups", "expected"),
    [(20, 20, 0.94), (290, 290, 0.94), (310, 310, 0.95), (9000, 9000, 0.95), (300, 90, 0.97)],
)
def test_the_nearest_size_inside_the_region_and_its_lowest_coverage(images, groups, expected):
    assert coverage_of("auroc", num_images=images, num_groups=groups).coverage == expected


@pytest.mark.usefixtures("table")
def test_a_metric_that_was_not_simulated_has_no_coverage():
    assert coverage_of("unknown", num_images=100, num_groups=100) is None
