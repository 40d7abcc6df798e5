"""The vectorised values under weights against a naive loop that repeats rows and calls scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from chiron.metrics.cases import check_cases
from chiron.metrics.intervals.bootstrap import left_out_weights, resampled_weights
from chiron.metrics.metric import metrics_for, registered_metrics
from chiron.metrics.statistics import Statistics


def grouped_cases(num_classes, seed=0, num_images=140, num_groups=50, decimals=2):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(num_classes, size=num_images)
    y_prob = rng.dirichlet(np.ones(num_classes), size=num_images) + 0.7 * np.eye(num_classes)[y_true]
    y_prob = (y_prob / y_prob.sum(axis=1, keepdims=True)).round(decimals)
    y_prob[:, -1] = 1 - y_prob[:, :-1].sum(axis=1)
    names = [f"class_{i}" for i in range(num_classes)]
    groups = rng.integers(num_groups, size=num_images).tolist()
    positive = names[1] if num_classes == 2 else None
    return check_cases(y_true, y_prob.clip(0, 1), classes=names, positive=positive, groups=groups)


def naive(cases, rows):
    """Every value of the repeated rows, by scikit-learn."""
    y_true, y_prob, y_pred = cases.y_true[rows], cases.y_prob[rows], cases.y_pred[rows]
    labels = list(range(cases.num_classes))
    values = {("accuracy", None): sk.accuracy_score(y_true, y_pred), ("log_loss", None): log_loss(y_true, y_prob)}
    values["balanced_accuracy", None] = sk.balanced_accuracy_score(y_true, y_pred)
    scores = {"sensitivity": sk.recall_score, "precision": sk.precision_score, "f1": sk.f1_score}
    for key, score in scores.items():
        options = {"labels": labels, "zero_division": np.nan}
        for i, value in enumerate(score(y_true, y_pred, average=None, **options)):
            values[key, i] = value
        values[f"macro_{key}", None] = score(y_true, y_pred, average="macro", **options)
        values[f"weighted_{key}", None] = score(y_true, y_pred, average="weighted", **options)
    for i in labels:
        values["auroc", i] = sk.roc_auc_score(y_true == i, y_prob[:, i])
        values["average_precision", i] = sk.average_precision_score(y_true == i, y_prob[:, i])
        values["specificity", i] = sk.recall_score(y_true != i, y_pred != i)
        values["npv", i] = sk.precision_score(y_true != i, y_pred != i)
        values["partial_auroc", i] = sk.roc_auc_score(y_true == i, y_prob[:, i], max_fpr=0.1)
        fpr, tpr, _ = sk.roc_curve(y_true == i, y_prob[:, i], drop_intermediate=False)
        for percent in (90, 95):
            rate = percent / 100 - 1e-12
            values[f"sensitivity_at_specificity_{percent}", i] = tpr[1 - fpr >= rate].max()
            values[f"specificity_at_sensitivity_{percent}", i] = 1 - fpr[tpr >= rate].min()
        ratios = sk.class_likelihood_ratios(y_true == i, y_pred == i, replace_undefined_by=np.nan)
        values["positive_likelihood_ratio", i], values["negative_likelihood_ratio", i] = ratios
    for key in ("auroc", "average_precision", "specificity", "partial_auroc", "npv"):
        values[f"macro_{key}", None] = np.mean([values[key, i] for i in labels])
    for key in ("auroc", "average_precision", "specificity", "npv"):
        each = [values[key, i] for i in labels]
        values[f"weighted_{key}", None] = np.average(each, weights=np.bincount(y_true, minlength=len(labels)))
    for key in ("precision", "sensitivity", "f1"):
        values[f"micro_{key}", None] = scores[key](y_true, y_pred, average="micro")
    values["mcc", None] = sk.matthews_corrcoef(y_true, y_pred)
    for weights, key in ((None, "kappa"), ("linear", "kappa_linear"), ("quadratic", "kappa_quadratic")):
        values[key, None] = sk.cohen_kappa_score(y_true, y_pred, labels=labels, weights=weights)
    for k in (3, 5):
        if len(labels) >= 2 * k - (k == 3):
            values[f"top_{k}_accuracy", None] = sk.top_k_accuracy_score(y_true, y_prob, k=k, labels=labels)
    if cases.num_classes == 2:
        values["brier", None] = sk.brier_score_loss(y_true == 1, y_prob[:, 1])
    else:
        values["brier", None] = sk.brier_score_loss(y_true, y_prob, labels=labels, scale_by_half=False)
    return values


def log_loss(y_true, y_prob):
    clipped = np.clip(y_prob[np.arange(len(y_true)), y_true], np.finfo(float).eps, 1 - np.finfo(float).eps)
    return -np.log(clipped).mean()


@pytest.mark.parametrize("num_classes", [2, 4, 10])
def test_weighted_values_equal_a_naive_loop_over_repeated_rows(num_classes):
    # Of ten classes without ties, which scikit-learn's top-k breaks otherwise.
    few = num_classes < 10
    cases = grouped_cases(num_classes, num_images=140 if few else 600, decimals=2 if few else 9)
    rows = np.arange(cases.num_images)
    blocks = [*resampled_weights(cases.num_groups, 10, num_rows=len(rows), seed=0)]
    blocks += [next(left_out_weights(cases.num_groups, num_rows=len(rows), seed=0))[:, :8]]
    weights = np.concatenate(blocks, axis=1)
    metrics = metrics_for(num_classes, ordinal=True)
    metrics |= {key: registered_metrics()[key] for key in ("kappa_linear", "kappa_quadratic")}
    values = Statistics(cases, metrics.values()).of_blocks(blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [naive(cases, np.repeat(rows, column[cases.group_index])) for column in weights.T]
    assert set(expected[0]) == set(values)
    for key, mine in values.items():
        reference = np.array([one[key] for one in expected])
        np.testing.assert_allclose(mine, reference, rtol=0, atol=1e-12, err_msg=str(key))


def test_a_resample_without_a_class_is_undefined_and_not_zero():
    cases = grouped_cases(3)
    has_class = np.bincount(cases.group_index[cases.y_true == 0], minlength=cases.num_groups) > 0
    weights = (~has_class).astype(np.int32)[:, np.newaxis]
    values = Statistics(cases, registered_metrics().values())(weights)
    for key in ("sensitivity", "precision", "f1", "auroc", "average_precision"):
        assert np.isnan(values[key, 0][0]), key
        assert np.isnan(values[f"macro_{key}", None][0]), key
    assert np.isfinite(values["specificity", 0][0])
    assert np.isfinite(values["weighted_f1", None][0])
    assert np.isfinite(values["accuracy", None][0])
