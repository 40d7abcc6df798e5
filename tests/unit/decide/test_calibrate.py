"""Calibration: fits against references, the choice of a method, and what is refused."""

import numpy as np
import pytest
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from chiron.core.errors import DecisionError
from chiron.core.registry import leaf_names
from chiron.decide import affine
from chiron.decide.calibrate import CALIBRATORS_PACKAGE, METHODS, calibrated, calibration_losses, fit_calibration
from chiron.spec.decision import Calibration

HOW = {"needs_intercept": False, "fitted_on": "cal", "several": False}


def drawn(random, count: int, classes: int = 3, *, temperature: float = 1.0, bias=0.0):
    """Logits and labels such that softmax(logits / temperature + bias) is exactly right."""
    logits = random.normal(size=(count, classes)) * 2 * temperature
    probs = special.softmax(logits / temperature + bias, axis=1)
    return logits, (probs.cumsum(axis=1) < random.random((count, 1))).sum(axis=1)


def log_loss(probs, y_true) -> float:
    return float(-np.log(probs[np.arange(len(y_true)), y_true]).mean())


def test_methods_of_the_recipe_are_the_leaves():
    assert sorted(METHODS) == leaf_names(CALIBRATORS_PACKAGE)


def test_the_mean_of_temperatures_is_the_true_one_and_single_fits_keep_the_information_bound(random):
    fits, bounds = [], []
    for _ in range(60):
        logits, y_true = drawn(random, 1000, 5, temperature=1.7)
        fits.append(fit_calibration(logits, y_true, None, method="temperature", **HOW).parameters[0]["temperature"][0])
        probs = special.softmax(logits / 1.7, axis=1)
        variance = (probs * logits**2).sum(axis=1) - (probs * logits).sum(axis=1) ** 2
        bounds.append(1.7**2 / np.sqrt(variance.sum()))  # standard error of 1 / slope
    errors = (np.array(fits) - 1.7) / np.array(bounds)
    assert abs(np.mean(fits) / 1.7 - 1) < 0.01
    assert np.abs(errors).max() < 3.5
    assert 0.75 < errors.std() < 1.25


@pytest.mark.parametrize("method", ["temperature", "temperature_bias", "vector", "platt"])
def test_a_fit_is_the_minimum_of_its_loss(random, method):
    classes = 2 if method == "platt" else 4
    logits, y_true = drawn(random, 600, classes, temperature=2.5, bias=np.linspace(-1, 1, classes))
    found = fit_calibration(logits, y_true, None, method=method, **HOW)
    here = log_loss(calibrated(logits, found, several=False), y_true)
    centered = logits - logits.mean(axis=1, keepdims=True)

    def loss(values):  # without the ridge, by finite differences
        slopes = {"temperature": values[:1], "vector": values[:classes]}.get(method, values[:1])
        intercepts = 0.0 if method == "temperature" else values[-classes:]
        return log_loss(special.softmax(centered * slopes + intercepts, axis=1), y_true)

    size = {"temperature": 1, "vector": 2 * classes}.get(method, 1 + classes)
    best = optimize.minimize(loss, np.full(size, 0.1), method="BFGS", options={"gtol": 1e-8}).fun
    assert best - 1e-9 <= here < best + 2e-6


def test_platt_is_logistic_regression(random):
    logits, y_true = drawn(random, 5000, 2, temperature=2.0, bias=np.array([0.0, -1.5]))
    parameters = fit_calibration(logits, y_true, None, method="platt", **HOW).parameters[0]
    margin = (logits[:, 1] - logits[:, 0])[:, np.newaxis]
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(margin, y_true)
    assert parameters["slope"][0] == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert parameters["intercept"][0] == pytest.approx(reference.intercept_[0], rel=1e-3)


def test_isotonic_is_that_of_scikit_learn_but_for_its_ends(random):
    logits, y_true = drawn(random, 1500, 2, temperature=3.0)
    logits = (logits * 8).round() / 8  # ties
    found = calibrated(logits, fit_calibration(logits, y_true, None, method="isotonic", **HOW), several=False)
    margin = logits[:, 1] - logits[:, 0]
    reference = IsotonicRegression(out_of_bounds="clip", y_min=1 / 1502, y_max=1501 / 1502).fit(margin, y_true)
    np.testing.assert_allclose(found[:, 1], reference.predict(margin), atol=1e-12)
    between = np.stack([np.zeros(50), random.uniform(-20, 20, 50)], axis=1)
    curve = fit_calibration(logits, y_true, None, method="isotonic", **HOW)
    np.testing.assert_allclose(
        calibrated(between, curve, several=False)[:, 1], reference.predict(between[:, 1]), atol=1e-12
    )


def test_isotonic_of_several_classes_sums_to_one_and_mends_the_shares(random):
    logits, y_true = drawn(random, 3000, 4, bias=np.array([-2.0, 0, 0, 1]))
    probs = calibrated(logits, fit_calibration(logits, y_true, None, method="isotonic", **HOW), several=False)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    gap = [np.abs(some.mean(axis=0) - np.bincount(y_true) / 3000).max() for some in (probs, special.softmax(logits, 1))]
    assert gap[0] < 0.03 < 0.15 < gap[1]


def test_temperature_cannot_repair_class_weights_and_an_intercept_can(random):
    # A12: 10.6 % positive, log-odds shifted as by balanced weights.
    margin = random.normal(size=20_000) * 1.5
    true = special.expit(margin - 2.9)
    y_true = (random.random(20_000) < true).astype(np.int64)
    logits = np.stack([np.zeros(20_000), margin - 2.9 + np.log(0.894 / 0.106)], axis=1)
    mean = {}
    for method in ("temperature", "platt"):
        found = fit_calibration(logits, y_true, None, method=method, **HOW)
        mean[method] = calibrated(logits, found, several=False)[:, 1].mean()
    assert mean["platt"] == pytest.approx(y_true.mean(), abs=1e-4)
    assert mean["temperature"] > 2 * y_true.mean()
    with pytest.raises(DecisionError, match=r"must have an intercept a class. Got temperature"):
        fit_calibration(logits, y_true, None, method="temperature", **(HOW | {"needs_intercept": True}))
    chosen = fit_calibration(logits, y_true, None, method="auto", **(HOW | {"needs_intercept": True}))
    assert chosen.method in ("platt", "isotonic")


def test_separated_cases_stay_finite_and_a_ranking_is_never_turned():
    logits = np.array([[0.0, -2.0], [0.0, 2.0]] * 40)
    y_true = np.array([0, 1] * 40)
    for method in ("temperature", "platt"):
        probs = calibrated(logits, fit_calibration(logits, y_true, None, method=method, **HOW), several=False)
        assert 0.99 < probs[1, 1] < 1 - 1e-7
    turned = fit_calibration(logits, 1 - y_true, None, method="platt", **HOW)
    assert turned.parameters[0]["slope"][0] > 0
    assert calibrated(logits, turned, several=False)[1, 1] == pytest.approx(0.5, abs=0.01)


def test_the_ridge_moves_a_fit_by_less_than_a_thousandth(random, monkeypatch):
    logits, y_true = drawn(random, 1000, 4, temperature=2.0, bias=np.array([1.0, 0, 0, -1]))
    with_ridge = fit_calibration(logits, y_true, None, method="vector", **HOW).parameters[0]
    monkeypatch.setattr(affine, "RIDGE", 1e-9)
    without = fit_calibration(logits, y_true, None, method="vector", **HOW).parameters[0]
    np.testing.assert_allclose(with_ridge["slope"], without["slope"], rtol=1e-3)
    np.testing.assert_allclose(with_ridge["intercept"], without["intercept"], atol=1e-3)


def test_the_least_cross_validated_loss_is_chosen(random):
    chosen = []
    for bias in [0.0] * 9 + [np.array([2.0, 0, 0, -2])]:
        cases = drawn(random, 150, 4, temperature=2.0, bias=bias)
        losses = calibration_losses(*cases, None, methods=("temperature", "temperature_bias"), several=False)
        chosen.append(fit_calibration(*cases, None, method="auto", **HOW).method)
        assert chosen[-1] == min(losses, key=losses.get)
    assert chosen.count("temperature") >= 6
    assert chosen[-1] == "temperature_bias"
    assert losses["temperature"] > losses["temperature_bias"] + 0.1


def test_cases_of_a_group_are_never_on_both_sides_of_a_fold(random):
    # 60 copies of 30 cases: with a group a case, isotonic learns its copies by heart.
    logits, y_true = drawn(random, 30, 2)
    logits, y_true, groups = np.tile(logits, (60, 1)), np.tile(y_true, 60), np.tile(np.arange(30), 60)
    by_heart = calibration_losses(logits, y_true, None, methods=("isotonic",), several=False)["isotonic"]
    honest = calibration_losses(logits, y_true, groups.tolist(), methods=("isotonic",), several=False)["isotonic"]
    assert honest > by_heart + 0.2


def test_order_of_rows_changes_nothing(random):
    logits, y_true = drawn(random, 300, 3, bias=np.array([1.0, 0, -1]))
    groups = random.integers(0, 100, 300)
    order = random.permutation(300)
    one = fit_calibration(logits, y_true, groups.tolist(), method="auto", **HOW)
    other = fit_calibration(logits[order], y_true[order], groups[order].tolist(), method="auto", **HOW)
    assert one == other
    assert (one.num_units, one.num_groups) == (300, len(set(groups.tolist())))
    assert fit_calibration(logits, y_true, None, method="auto", **HOW) == fit_calibration(
        logits[order], y_true[order], None, method="auto", **HOW
    )


def test_several_labels_are_fitted_one_by_one_on_assessed_images(random):
    logits = random.normal(size=(3000, 3)) * 2
    y_true = (random.random((3000, 3)) < special.expit(logits * 0.5 + np.array([-1.0, 0, 1]))).astype(np.float64)
    y_true[random.random((3000, 3)) < 0.3] = np.nan
    how = HOW | {"several": True}
    found = fit_calibration(logits, y_true, None, method="platt", **how)
    probs = calibrated(logits, found, several=True)
    for k in range(3):
        known = ~np.isnan(y_true[:, k])
        two = np.stack([np.zeros(known.sum()), logits[known, k]], axis=1)
        alone = fit_calibration(two, y_true[known, k].astype(np.int64), None, method="platt", **HOW)
        np.testing.assert_allclose(calibrated(two, alone, several=False)[:, 1], probs[known, k], atol=1e-7)
        assert probs[known, k].mean() == pytest.approx(y_true[known, k].mean(), abs=1e-4)
    for method in ("isotonic", "auto"):
        probs = calibrated(logits, fit_calibration(logits, y_true, None, method=method, **how), several=True)
        assert probs[:, 2].mean() == pytest.approx(np.nanmean(y_true[:, 2]), abs=0.02)
    y_true[:, 1] = 0
    with pytest.raises(DecisionError, match=r"images with and without each. Got only one of them for class number 1"):
        fit_calibration(logits, y_true, None, method="platt", **how)


def test_none_is_the_networks_own():
    logits = np.array([[1.0, -1.0]], dtype=np.float32)
    own = Calibration()
    np.testing.assert_allclose(calibrated(logits, own, several=False), special.softmax(logits.astype(float), axis=1))
    np.testing.assert_allclose(calibrated(logits, own, several=True), special.expit(logits.astype(float)))
    assert fit_calibration(logits, np.array([0]), None, method="none", **HOW) == own


def test_each_network_has_its_parameters():
    both = Calibration(method="temperature", parameters=({"temperature": (1.0,)}, {"temperature": (4.0,)}))
    logits = np.array([[0.0, 4.0]])
    assert calibrated(logits, both, several=False, member=1)[0, 1] == pytest.approx(special.expit(1))
    with pytest.raises(DecisionError, match="Got 2 for network number 2"):
        calibrated(logits, both, several=False, member=2)


def test_what_cannot_be_fitted_is_told(random):
    logits, y_true = drawn(random, 40, 3)
    with pytest.raises(DecisionError, match=r"isotonic must have at least 1000 cases.*Got 40. Choose another"):
        fit_calibration(logits, y_true, None, method="isotonic", **HOW)
    with pytest.raises(DecisionError, match="Got platt for 3, where temperature_bias is meant"):
        fit_calibration(logits, y_true, None, method="platt", **HOW)
    with pytest.raises(DecisionError, match=r"at least 20 cases to be fitted on. Got 10"):
        fit_calibration(logits[:10], y_true[:10], None, method="auto", **HOW)
    with pytest.raises(DecisionError, match=r"at least 50 cases to be fitted on. Got 40"):
        fit_calibration(logits, y_true, None, method="auto", **(HOW | {"needs_intercept": True}))
    with pytest.raises(DecisionError, match=r"Groups must have one id a row, 40. Got 2"):
        fit_calibration(logits, y_true, ["a", "b"], method="temperature", **HOW)
    with pytest.raises(DecisionError, match="outputs that differ between classes"):
        fit_calibration(np.ones((40, 3)), y_true, None, method="temperature", **HOW)
    more, labels = drawn(random, 100, 3)
    with pytest.raises(DecisionError, match="Got none of class number 2"):
        fit_calibration(more, np.minimum(labels, 1), None, method="temperature_bias", **HOW)
    chosen = fit_calibration(more, np.minimum(labels, 1), None, method="auto", **HOW)
    assert chosen.method == "temperature"
