"""Every point estimate against scikit-learn with the fixed label list, and what happens where nothing can be said."""

import numpy as np
import pytest
from sklearn import metrics as sk

from chiron.core.errors import MetricError
from chiron.metrics.confusion import confusion_matrix, one_vs_rest
from chiron.metrics.scores.accuracy import accuracy
from chiron.metrics.scores.auroc import auroc
from chiron.metrics.scores.average_precision import average_precision
from chiron.metrics.scores.balanced_accuracy import balanced_accuracy
from chiron.metrics.scores.brier import brier
from chiron.metrics.scores.f1 import f1
from chiron.metrics.scores.log_loss import log_loss
from chiron.metrics.scores.npv import npv
from chiron.metrics.scores.precision import precision
from chiron.metrics.scores.sensitivity import sensitivity
from chiron.metrics.scores.specificity import specificity

TIGHT = {"rtol": 0, "atol": 1e-12}


def predictions(seed, num_images=300, num_classes=5):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(num_classes, size=num_images)
    logits = rng.normal(size=(num_images, num_classes)) + 1.5 * np.eye(num_classes)[y_true]
    y_prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return y_true, y_prob, y_prob.argmax(axis=1)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_label_metrics_equal_scikit_learn(seed, num_classes):
    y_true, _, y_pred = predictions(seed, num_classes=num_classes)
    labels = {"num_classes": num_classes}
    each = {"labels": list(range(num_classes)), "average": None}
    np.testing.assert_array_equal(confusion_matrix(y_true, y_pred, **labels), sk.confusion_matrix(y_true, y_pred))
    assert accuracy(y_true, y_pred, **labels) == pytest.approx(sk.accuracy_score(y_true, y_pred), abs=1e-12)
    expected = sk.balanced_accuracy_score(y_true, y_pred)
    assert balanced_accuracy(y_true, y_pred, **labels) == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(sensitivity(y_true, y_pred, **labels), sk.recall_score(y_true, y_pred, **each), **TIGHT)
    np.testing.assert_allclose(precision(y_true, y_pred, **labels), sk.precision_score(y_true, y_pred, **each), **TIGHT)
    np.testing.assert_allclose(f1(y_true, y_pred, **labels), sk.f1_score(y_true, y_pred, **each), **TIGHT)
    for c in range(num_classes):
        is_true, is_pred = y_true != c, y_pred != c  # the rest is the class asked for
        assert specificity(y_true, y_pred, **labels)[c] == pytest.approx(sk.recall_score(is_true, is_pred), abs=1e-12)
        assert npv(y_true, y_pred, **labels)[c] == pytest.approx(sk.precision_score(is_true, is_pred), abs=1e-12)


@pytest.mark.parametrize("decimals", [16, 1])
def test_rank_metrics_equal_scikit_learn_with_and_without_ties(decimals):
    y_true, y_prob, _ = predictions(3)
    for c in range(5):
        score, of_class = y_prob[:, c].round(decimals), (y_true == c).astype(int)
        assert auroc(of_class, score) == pytest.approx(sk.roc_auc_score(of_class, score), abs=1e-12)
        expected = sk.average_precision_score(of_class, score)
        assert average_precision(of_class, score) == pytest.approx(expected, abs=1e-12)


def test_probability_metrics_equal_scikit_learn():
    y_true, y_prob, _ = predictions(4)
    assert log_loss(y_true, y_prob) == pytest.approx(sk.log_loss(y_true, y_prob), abs=1e-12)
    expected = sk.brier_score_loss(y_true, y_prob, labels=list(range(5)), scale_by_half=False)
    assert brier(y_true, y_prob) == pytest.approx(expected, abs=1e-12)


def test_log_loss_of_a_certain_and_wrong_output_is_finite_and_equals_scikit_learn():
    y_true, y_prob = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])
    assert log_loss(y_true, y_prob) == pytest.approx(sk.log_loss(y_true, y_prob), abs=1e-12)


def test_absent_class_is_nan_and_shifts_nothing():
    y_true, y_pred = np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0])
    np.testing.assert_allclose(sensitivity(y_true, y_pred, num_classes=4), [1 / 2, np.nan, 2 / 3, np.nan])
    np.testing.assert_allclose(precision(y_true, y_pred, num_classes=4), [1 / 2, np.nan, 1, np.nan])
    np.testing.assert_allclose(f1(y_true, y_pred, num_classes=4), [1 / 2, np.nan, 4 / 5, np.nan])
    np.testing.assert_allclose(specificity(y_true, y_pred, num_classes=4), [2 / 3, 4 / 5, 1, 1])
    assert np.isnan(balanced_accuracy(y_true, y_pred, num_classes=4))


def test_precision_of_a_class_never_predicted_is_nan_while_its_f1_is_zero():
    y_true, y_pred = np.array([0, 1]), np.array([0, 0])
    assert np.isnan(precision(y_true, y_pred, num_classes=2)[1])
    assert f1(y_true, y_pred, num_classes=2)[1] == 0


@pytest.mark.parametrize("metric", [auroc, average_precision])
@pytest.mark.parametrize("label", [0, 1])
def test_rank_metrics_of_one_sided_data_are_nan(metric, label):
    assert np.isnan(metric(np.full(4, label), np.arange(4.0)))


def test_one_vs_rest_counts_sum_to_the_images():
    y_true, _, y_pred = predictions(5)
    counts = one_vs_rest(confusion_matrix(y_true, y_pred, num_classes=5))
    np.testing.assert_array_equal(sum(counts), np.full(5, 300))
    np.testing.assert_array_equal(counts.fp, [((y_pred == c) & (y_true != c)).sum() for c in range(5)])


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([0, 3], [0, 1], r"must lie in 0\.\.2.*Got 3"),
        ([0, -1], [0, 1], "Got -1"),
        ([0.0, 1.0], [0, 1], "class indices. Got values of type float64"),
        ([0, 1, 1], [0, 1], "Got 3 and 2"),
        ([], [], "at least one"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_confusion_matrix_refuses_what_it_cannot_count(y_true, y_pred, message):
    with pytest.raises(MetricError, match=message):
        confusion_matrix(np.array(y_true), np.array(y_pred), num_classes=3)


@pytest.mark.usefixtures("unchecked")
def test_rank_metrics_refuse_nan_scores_and_other_labels():
    with pytest.raises(MetricError, match="finite"):
        auroc(np.array([0, 1]), np.array([0.1, np.nan]))
    with pytest.raises(MetricError, match=r"0\.\.1"):
        auroc(np.array([0, 2]), np.array([0.1, 0.2]))
    with pytest.raises(MetricError, match="one entry a row"):
        auroc(np.array([0, 1]), np.array([0.1, 0.2, 0.3]))
