"""A small coverage gate: few cells of the simulation, seeds fixed; and what simulated sets are made of.

The gate over all cells is `benchmarks/validity/coverage.py`; its results are a page in the docs and the data that the
tool reads.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from validity_scripts import script

from chiron.metrics.intervals.coverage import LIMIT, simulation_error

gate = script("coverage")
sets = script("simulated_sets")
SMALL = [gate.Cell(150, 0.2, "near 1", "equal"), gate.Cell(50, 0.3, "near 1", "equal", 0.7)]
LARGE = [
    gate.Cell(150, classes="three"),
    gate.Cell(150, 0.2, "ordinary", "tied"),
    gate.Cell(600, 0.1, "near 1", "unequal"),
    gate.Cell(100, 0.3, "near 1", "unequal", 0.7),
]


def misses(cell, num_sets):
    """Default intervals inside their region that hold the true value too seldom."""
    found = []
    for name, (drawn, inside, null, held, *_) in gate.simulate(cell, 0, num_sets).items():
        limited = drawn - null
        is_asked = name.endswith("|default") and inside >= 0.9 * num_sets
        if is_asked and held / limited < LIMIT - 3 * simulation_error(int(limited)):
            found.append((name, held / limited))
    return found


# Without checks of shapes, which take longer here than all the rest.
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cell", SMALL, ids=str)
def test_default_intervals_hold_the_true_value(cell):
    assert misses(cell, 25) == []


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cell", LARGE, ids=str)
def test_default_intervals_hold_the_true_value_in_more_sets(cell):
    assert misses(cell, 100) == []


@pytest.mark.usefixtures("unchecked")
def test_the_gate_finds_a_method_that_does_not_cover():
    counted = gate.simulate(gate.Cell(50, 0.2, "near 1", "equal"), 0, 30)
    drawn, _, null, held, *_ = counted["npv|percentile"]
    assert held / (drawn - null) < LIMIT - 3 * simulation_error(30)
    drawn, _, null, held, *_ = counted["npv|default"]
    assert held / (drawn - null) >= LIMIT - 3 * simulation_error(30)


@pytest.mark.parametrize("level", sets.AUROC_OF_LEVEL)
def test_true_values_are_those_of_the_formulas(level):
    for shape, spread in sets.SPREAD_OF_SHAPE.items():
        true = sets.truth(gate.Cell(50, 0.2, level, shape))
        if shape != "tied":
            distance = np.sqrt(1 + spread**2) * stats.norm.ppf(sets.AUROC_OF_LEVEL[level])
            sensitivity, specificity = stats.norm.cdf(distance / 2 / spread), stats.norm.cdf(distance / 2)
            assert true["auroc", 1] == pytest.approx(sets.AUROC_OF_LEVEL[level], abs=1e-5)
            assert true["sensitivity", 1] == pytest.approx(sensitivity, abs=1e-4)
            assert true["specificity", 1] == pytest.approx(specificity, abs=1e-4)
            assert true["accuracy", None] == pytest.approx(0.2 * sensitivity + 0.8 * specificity, abs=1e-4)


def test_large_sets_come_close_to_the_true_values():
    for cell in (
        gate.Cell(20_000, 0.2, "ordinary", "unequal"),
        gate.Cell(10_000, 0.3, "ordinary", "tied", 0.7),
        gate.Cell(20_000, classes="seven"),
    ):
        cases, true = sets.draw(cell, np.random.default_rng(0)), sets.truth(cell)
        assert (cases.y_true == cases.y_pred).mean() == pytest.approx(true["accuracy", None], abs=0.015)
        log_loss = -np.log(cases.y_prob[np.arange(cases.num_images), cases.y_true]).mean()
        assert log_loss == pytest.approx(true["log_loss", None], rel=0.06)
        shares = np.bincount(cases.y_true) / cases.num_images
        np.testing.assert_allclose(shares, cell.shares / cell.shares.sum(), atol=0.015)


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_true_net_benefit_is_that_of_the_formula(threshold):
    for shape, spread in (("equal", 1.0), ("unequal", 2.5)):
        distance = np.sqrt(1 + spread**2) * stats.norm.ppf(0.85)
        cutoff = (np.log(threshold / (1 - threshold)) + distance**2 / 2) / distance
        found, alarmed = stats.norm.sf((cutoff - distance) / spread), stats.norm.sf(cutoff)
        odds = threshold / (1 - threshold)
        model, treat_all = 0.3 * found - 0.7 * alarmed * odds, 0.3 - 0.7 * odds
        expected = (model, treat_all, model - max(0, treat_all))
        cell = gate.Cell(50, 0.3, "ordinary", shape, 0.7)
        assert sets.true_net_benefit(cell, threshold) == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("unchecked")
def test_net_benefit_and_rates_at_fixed_rates_are_simulated_too():
    counted = gate.simulate(gate.Cell(150, 0.5), 0, 4)
    for name in ("net_benefit", "net_benefit_of_treating_all", "net_benefit_over_default"):
        drawn, inside, null, *_, width = counted[f"{name}|default"]
        assert (drawn, inside, null) == (4, 4, 0)
        assert 0.02 < width / 4 < 0.4
    for name in ("sensitivity_at_specificity_90", "specificity_at_sensitivity_90"):
        assert counted[f"{name}|default"][:2] == [4, 4]
    assert not any("net_benefit" in name for name in gate.simulate(gate.Cell(150, classes="three"), 0, 1))
    of_one_class = sets.draw(gate.Cell(2, 0.5), np.random.default_rng(0))
    assert gate._net_benefit(gate.Cell(2, 0.5), replace(of_one_class, y_true=np.zeros(2, dtype=np.int64)), 0) == {}


def test_sets_are_not_those_that_methods_were_chosen_by(monkeypatch):
    cell = gate.Cell(50, 0.2)

    def scores(rng):
        return sets.draw(cell, rng).y_prob[:, 1].tolist()

    drawn = scores(sets.random_of(cell, 0))
    assert drawn == scores(sets.random_of(cell, 0))
    others = [sets.random_of(cell, 1), sets.random_of(gate.Cell(50, 0.5), 0), np.random.default_rng([0, 50])]
    monkeypatch.setattr(sets, "DRAWS", 1)
    assert all(scores(rng) != drawn for rng in [*others, sets.random_of(cell, 0)])


def test_images_of_a_group_are_alike():
    cases = sets.draw(gate.Cell(3000, 0.3, "ordinary", "equal", 0.7), np.random.default_rng(0))
    logit = np.log(cases.y_prob[:, 1] / cases.y_prob[:, 0])
    same = (cases.group_index[1:] == cases.group_index[:-1]) & (cases.y_true[1:] == 0)
    assert (cases.y_true[1:] == cases.y_true[:-1])[same].all()
    assert np.corrcoef(logit[1:][same], logit[:-1][same])[0, 1] == pytest.approx(0.7, abs=0.05)


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(gate, "cells", lambda: SMALL[:2])
    monkeypatch.setattr(
        gate,
        "simulate",
        lambda cell, first, num: calls.append((cell, first)) or {"npv|default": [num, num, 0, 47, 2, 1.5]},
    )
    out = tmp_path / "results.jsonl"
    gate.run(out, 50, largest=2000, only_close=False)
    gate.run(out, 100, largest=2000, only_close=False)
    assert calls == [(SMALL[0], 0), (SMALL[1], 0), (SMALL[0], 50), (SMALL[1], 50)]
    rows = gate.rows(out)
    assert [(row["sets"], row["coverage"], row["width"], row["inside"]) for row in rows] == [
        (100, 0.94, 0.03, True)
    ] * 2
    assert json.loads(out.read_text().splitlines()[0])["first"] == 0
    gate.run(out, 150, largest=40, only_close=False)
    assert len(calls) == 4  # no cell is so small
