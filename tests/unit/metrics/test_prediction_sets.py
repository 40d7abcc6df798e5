"""Numbers of prediction sets."""

import numpy as np
import pytest

from chiron.core.errors import MetricError
from chiron.metrics.prediction_sets import evaluate_prediction_sets

CLASSES = ("a", "b", "c")


def test_counts_by_hand():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    y_true = np.array([0, 2, 0, 1, 1])
    found = evaluate_prediction_sets(sets, y_true, None, classes=CLASSES, by_values=["x", "x", "y", "y", "y"])
    overall = found.overall
    assert overall.coverage.value == pytest.approx(3 / 5)
    assert overall.mean_size.value == pytest.approx(7 / 5)
    assert [overall.empty.value, overall.single.value, overall.full.value] == [1 / 5, 2 / 5, 1 / 5]
    assert [found.per_class[name].coverage.value for name in CLASSES] == [1 / 2, 1.0, 0.0]
    assert found.per_class["b"].mean_size.value == 2.0
    assert found.per_value["y"].coverage.value == pytest.approx(2 / 3)
    assert found.per_value["x"].coverage.num_images == 2
    assert list(found.per_value) == ["x", "y"]


def test_a_class_without_units_is_null_with_the_reason():
    sets, y_true = np.ones((12, 3), dtype=bool), np.zeros(12, dtype=np.int64)
    found = evaluate_prediction_sets(sets, y_true, list("aabbccddeeff"), classes=CLASSES)
    for estimate in vars(found.per_class["c"]).values():
        assert (estimate.value, estimate.note) == (None, "no image to count")
    assert (found.overall.coverage.num_images, found.overall.coverage.num_groups) == (12, 6)
    assert found.per_value == {}


def test_what_does_not_fit_is_told():
    with pytest.raises(MetricError, match=r"one row a unit and one column a class, \(3, 3\).*Got \(3, 2\)"):
        evaluate_prediction_sets(np.ones((3, 2), dtype=bool), np.zeros(3, dtype=np.int64), None, classes=CLASSES)
