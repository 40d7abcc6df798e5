"""The ROC curve against scikit-learn's and against the AUROC."""

import numpy as np
import pytest
from sklearn import metrics as sk

from chiron.core.errors import MetricError
from chiron.metrics.curves import roc_curve


def scored(seed, decimals):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(2, size=200)
    return y_true, (rng.normal(size=200) + y_true).round(decimals)


@pytest.mark.parametrize("decimals", [12, 1, 0])
def test_area_equals_auroc_and_every_corner_is_one_of_scikit_learn(decimals):
    y_true, score = scored(0, decimals)
    curve = roc_curve(y_true, score)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(sk.roc_auc_score(y_true, score), abs=1e-12)
    fpr, tpr, threshold = sk.roc_curve(y_true, score, drop_intermediate=False)
    reference = set(zip(fpr.round(12), tpr.round(12), threshold, strict=True))
    assert set(zip(curve.fpr.round(12), curve.tpr.round(12), curve.threshold, strict=True)) <= reference
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)


def test_no_three_points_lie_on_a_line_and_perfect_scores_need_three():
    curve = roc_curve(*scored(1, 1))
    right, up = np.diff(curve.fpr), np.diff(curve.tpr)
    assert (np.abs(right[1:] * up[:-1] - right[:-1] * up[1:]) > 1e-12).all()
    perfect = roc_curve(np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.6, 0.7, 0.8]))
    assert perfect.fpr.tolist() == [0, 0, 1]
    assert perfect.tpr.tolist() == [0, 1, 1]
    assert perfect.threshold.tolist() == [np.inf, 0.6, 0.1]


def test_one_sided_data_have_no_curve():
    with pytest.raises(MetricError, match="Got 0 positive of 3"):
        roc_curve(np.zeros(3, dtype=int), np.arange(3.0))
