"""A small form of benchmarks/validity/comparison.py: tests seldom find a difference that is not there."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

SCRIPT = Path(__file__).parents[4] / "benchmarks" / "validity" / "comparison.py"
SETS = 200


@pytest.fixture(scope="module")
def gate():
    spec = importlib.util.spec_from_file_location("comparison_gate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rejections(draw, cell, sets=SETS):
    rng = np.random.default_rng(0)
    drawn = [draw(rng, cell) for _ in range(sets)]
    return {test: np.mean([p_values[test] < 0.05 for p_values in drawn]) for test in drawn[0]}


def limit(share, sets=SETS):
    return share + 3 * np.sqrt(share * (1 - share) / sets)


@pytest.mark.parametrize(
    ("null", "clustered"), [("exchanged", False), ("exchanged", True), ("parametric", True), ("shapes", True)]
)
def test_no_difference_is_seldom_found(gate, null, clustered):
    cell = {"clustered": clustered, "n": 150, "prevalence": 0.2, "null": null}
    assert max(rejections(gate.null_p_values, cell).values()) <= limit(0.05)


def test_seeds_count(gate):
    found = rejections(gate.seeds_p_values, {"clustered": False, "n": 600, "seeds": 3, "seed_sd": 2.0})
    assert found["3 seeds"] <= limit(0.075)
    assert found["one seed"] > 0.25  # what a comparison of one seed each would claim


def test_power_is_that_of_the_formula(gate):
    found = rejections(gate.power_p_values, {"n": 600, "prevalence": 0.5, "of": "auroc", "power": 0.6})
    assert stats.binomtest(round(found["auroc"] * SETS), SETS, 0.6).pvalue > 1e-3
