"""Training with several labels an image: loss without what is not assessed, weights, selection, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch.nn import functional

from chiron.core.errors import DataError
from chiron.engine.class_weights import class_weights
from chiron.engine.losses import bce
from chiron.engine.selection import selection_metrics
from chiron.spec.labels import LabelSpace

LABELS = LabelSpace(kind="multi_label", names=("a", "b", "c"))
NAN = float("nan")


def example(seed=0, n=40):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((n, 3)) < (0.5, 0.2, 0.1)).astype(float)
    y_true[0] = 1.0
    y_true[rng.random((n, 3)) < 0.3] = NAN
    return y_true, rng.normal(size=(n, 3)).astype(np.float32)


def test_the_loss_is_the_mean_over_assessed_labels_and_the_others_get_no_gradient():
    y_true, raw = example()
    logits = torch.from_numpy(raw).requires_grad_(True)
    targets = bce.make_targets(torch.from_numpy(y_true), LABELS)
    known = ~np.isnan(y_true)
    value = bce.loss(logits, targets)
    expected = functional.binary_cross_entropy_with_logits(logits[known], torch.from_numpy(y_true[known]).float())
    torch.testing.assert_close(value, expected)
    value.backward()
    assert (logits.grad[~torch.from_numpy(known)] == 0).all()
    assert (logits.grad[torch.from_numpy(known)] != 0).all()


def test_a_batch_without_any_assessed_label_teaches_nothing():
    logits = torch.zeros(2, 3, requires_grad=True)
    value = bce.loss(logits, torch.full((2, 3), NAN))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


def test_balanced_weights_are_absent_over_present_of_each_class_and_act_as_torchs_pos_weight():
    y_true, raw = example()
    weights = class_weights(y_true, LABELS, "balanced")
    expected = [(y_true[:, k] == 0).sum() / (y_true[:, k] == 1).sum() for k in range(3)]
    torch.testing.assert_close(weights, torch.tensor([[1.0] * 3, expected], dtype=torch.float32))
    assert class_weights(y_true, LABELS, "balanced", cap=2.0).max() == 2.0
    known = ~np.isnan(y_true)
    logits, targets = torch.from_numpy(raw), torch.from_numpy(y_true).float()
    summed = functional.binary_cross_entropy_with_logits(
        logits, torch.nan_to_num(targets), pos_weight=weights[1], reduction="none"
    )[torch.from_numpy(known)].sum()
    divisor = sum(2 * (y_true[:, k] == 0).sum() for k in range(3))  # both values weigh the same
    torch.testing.assert_close(bce.loss(logits, targets, weights), summed / float(divisor))


def test_weights_of_a_class_that_no_image_shows_are_refused():
    y_true, _ = example()
    y_true[:, 1] = 0
    with pytest.raises(DataError, match=r"images that show every class\. Got none of b"):
        class_weights(y_true, LABELS, "balanced")


def test_selection_equals_scikit_learn_and_leaves_out_classes_without_both_values():
    y_true, raw = example()
    y_true[:, 2] = np.where(np.isnan(y_true[:, 2]), NAN, 0)
    y_prob = 1 / (1 + np.exp(-raw.astype(float)))
    known = ~np.isnan(y_true)
    values = selection_metrics(y_true, y_prob, LABELS)
    aurocs = [sk.roc_auc_score(y_true[known[:, k], k], y_prob[known[:, k], k]) for k in (0, 1)]
    assert values["auroc"] == pytest.approx(np.mean(aurocs))
    assert values["loss"] == pytest.approx(sk.log_loss(y_true[known], y_prob[known]))
    assert values["accuracy"] == pytest.approx(((y_prob >= 0.5) == y_true)[known].mean())
    nothing = selection_metrics(np.full((4, 3), NAN), np.full((4, 3), 0.5), LABELS)
    assert nothing == {"loss": None, "accuracy": None, "auroc": None}
