"""The calibration of a graph is that of `chiron.decide`, whatever its method and the kind of labels."""

import numpy as np
import pytest
import torch

from chiron.core.errors import ExportError
from chiron.decide.calibrate import fit_calibration
from chiron.decide.members import probabilities
from chiron.exporting.calibration import Probabilities
from chiron.spec.decision import Calibration

CASES = 1200
SINGLE = [("none", 3), ("temperature", 2), ("temperature", 4), ("temperature_bias", 4), ("platt", 2), ("vector", 4)]
SINGLE += [("isotonic", 2), ("isotonic", 3)]


def cases(random, num_classes, *, several):
    logits = 2 * random.normal(size=(CASES, num_classes)) + 1
    if several:
        return logits, (random.random((CASES, num_classes)) < 1 / (1 + np.exp(-0.5 * logits + 0.3))).astype(float)
    return logits, (0.5 * logits + random.gumbel(size=logits.shape)).argmax(axis=1)


def fitted(random, method, num_classes, *, several):
    logits, y_true = cases(random, num_classes, several=several)
    how = {"method": method, "needs_intercept": False, "fitted_on": "cal", "several": several}
    return fit_calibration(logits, y_true, None, **how)


def difference(calibration, logits, *, several):
    graph = Probabilities(calibration, logits.shape[2], several=several)
    with torch.inference_mode():
        found = graph(torch.from_numpy(logits).float()).numpy()
    # The same rounded logits, so that a step of a curve is met from the same side.
    expected = probabilities(logits.astype(np.float32).astype(np.float64), calibration, several=several)
    assert found.shape == expected.shape
    return np.abs(found - expected).max()


@pytest.mark.parametrize(("method", "num_classes"), SINGLE)
def test_one_class_an_image(random, method, num_classes):
    calibration = fitted(random, method, num_classes, several=False)
    logits = 3 * random.normal(size=(2, 300, num_classes))
    assert difference(calibration, logits, several=False) <= (2e-5 if method == "isotonic" else 1e-6)


@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
def test_several_classes_an_image(random, method):
    calibration = fitted(random, method, 3, several=True)
    logits = 3 * random.normal(size=(1, 300, 3))
    assert difference(calibration, logits, several=True) <= (2e-5 if method == "isotonic" else 1e-6)


def test_networks_that_were_calibrated_one_by_one(random):
    sets = [fitted(random, "platt", 2, several=False).parameters[0] for _ in range(3)]
    calibration = Calibration(method="platt", parameters=tuple(sets), fitted_on="cross_fit")
    logits = 3 * random.normal(size=(3, 50, 2))
    assert difference(calibration, logits, several=False) <= 1e-6
    assert difference(calibration, logits[::-1].copy(), several=False) <= 1e-6


def test_beyond_the_ends_of_a_curve_and_with_one_corner():
    calibration = Calibration(method="isotonic", parameters=({"x_1": (-1.0, 1.0), "y_1": (0.2, 0.7)},))
    flat = Calibration(method="isotonic", parameters=({"x_1": (0.5,), "y_1": (0.3,)},))
    logits = np.array([[[0.0, -50.0], [0.0, 50.0], [0.0, 0.5], [0.0, 0.0]]])
    assert difference(calibration, logits, several=False) <= 1e-6
    assert difference(flat, logits, several=False) <= 1e-6


def test_an_unknown_method_is_told():
    with pytest.raises(ExportError, match="must have a form in graphs"):
        Probabilities(Calibration.model_construct(method="magic", parameters=({},)), 2, several=False)
