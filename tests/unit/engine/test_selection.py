"""Selection, early stopping and plateaus: exact epochs, and every metric that a recipe can name."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch.optim.lr_scheduler import ReduceLROnPlateau

from chiron.engine.checkpoint import Progress
from chiron.engine.schedules import learning_rate
from chiron.engine.selection import note_value, reason_to_stop, selection_metrics
from chiron.metrics.evaluation import evaluate
from chiron.metrics.multi_label import evaluate_multi_label
from chiron.spec.labels import LabelSpace
from chiron.spec.metric_names import directions
from chiron.spec.train_recipe import TrainRecipe

BINARY = LabelSpace(names=("sick", "well"), positive="sick")
THREE = LabelSpace(names=("a", "b", "c"))


def epochs_until_stop(values, **changes) -> tuple[int, int | None]:
    """After how many epochs training ends, and which one is the best."""
    train, progress = TrainRecipe(epochs=len(values), lr=0.1, **changes), Progress()
    for epoch, value in enumerate(values):
        note_value(progress, train, value)
        progress.begin_next_epoch()
        if reason_to_stop(train, progress, {train.select_by: value}):
            return epoch + 1, progress.best_epoch
    return len(values), progress.best_epoch


def test_the_fifth_epoch_without_a_lower_loss_stops():
    values = [0.9, 0.5, 0.6, 0.5, 0.55, 0.7, 0.51, 0.4]
    assert epochs_until_stop(values, select_by="loss", patience=5) == (7, 2)


def test_steps_below_min_delta_do_not_count_for_stopping_but_the_best_epoch_is_strict():
    """Patience 6, 0.001: the loss falls by 0.0005 an epoch, which counts every third epoch only."""
    slow = [1 - 0.0005 * k for k in range(12)]
    assert epochs_until_stop(slow, select_by="loss", patience=6, min_delta=0.001) == (12, 12)
    slower = [1 - 0.0001 * k for k in range(12)]
    assert epochs_until_stop(slower, select_by="loss", patience=6, min_delta=0.001) == (7, 7)
    assert epochs_until_stop(slower, select_by="loss", patience=6) == (12, 12)


def test_a_metric_that_is_never_defined_stops_too():
    assert epochs_until_stop([None] * 9, select_by="auroc", patience=4) == (4, 1)
    assert epochs_until_stop([None, 0.5, 0.6, 0.1, 0.2], select_by="auroc", patience=2) == (5, 3)


@given(
    values=st.lists(st.floats(0, 2), min_size=1, max_size=25),
    key=st.sampled_from(["loss", "brier", "auroc", "macro_f1"]),
    patience=st.integers(0, 4),
    factor=st.sampled_from([0.1, 0.2, 0.5]),
    min_lr=st.sampled_from([0.0, 1e-3]),
)
def test_a_plateau_is_torchs(values, key, patience, factor, min_lr):
    train = TrainRecipe(
        epochs=len(values) + 1, lr=0.1, schedule="plateau", select_by=key, plateau_patience=patience,
        plateau_factor=factor, min_lr=min_lr,
    )  # fmt: skip
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    mode = "min" if key in ("loss", "brier") else "max"
    theirs = ReduceLROnPlateau(optimizer, mode, factor=factor, patience=patience, min_lr=min_lr, eps=0)
    progress = Progress()
    for value in values:
        note_value(progress, train, value)
        theirs.step(value)
        progress.begin_next_epoch()
        rate = learning_rate(
            train, epoch=progress.epoch, step_in_epoch=0, num_batches=3, rate_factor=progress.rate_factor
        )
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_a_plateau_waits_for_the_warm_up():
    train = TrainRecipe(epochs=9, lr=0.1, schedule="plateau", plateau_patience=1, warmup_epochs=4)
    progress, factors = Progress(), []
    for _ in range(9):
        note_value(progress, train, 0.5)
        factors.append(progress.rate_factor)
        progress.begin_next_epoch()
    assert factors == pytest.approx([1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.01])


def test_directions_are_those_of_the_metrics():
    from chiron.metrics.metric import registered_metrics

    expected = {"loss": "down"}
    for metric in registered_metrics().values():
        keys = [metric.positive_key or metric.key, *(key for _, key in metric.averages)]
        expected |= dict.fromkeys(keys, metric.direction)
    assert directions() == expected
    assert {key for key, way in directions().items() if way == "down"} == {
        *("loss", "log_loss", "brier", "ece", "negative_likelihood_ratio"),
    }


@pytest.mark.parametrize("labels", [BINARY, THREE], ids=["two", "three"])
def test_every_name_is_what_evaluation_reports(labels, random):
    count = len(labels.names)
    y_true, y_prob = random.integers(0, count, 60), random.dirichlet([1] * count, 60)
    report = evaluate(
        y_true, y_prob, classes=labels.names, positive=labels.positive, groups=None, num_resamples=100
    ).overall  # fmt: skip
    compared = 0
    for name in directions():
        value = selection_metrics(y_true, y_prob, labels, name)[name]
        reported = report.get("log_loss" if name == "loss" else name)
        if reported is None and count == 3:  # a metric of the positive class: the mean over classes
            reported = report.get(f"macro_{name}")
        if reported is not None:
            assert value == pytest.approx(reported.value, rel=1e-9), name
            compared += 1
    assert compared >= 16


def test_every_name_of_several_labels_is_what_evaluation_reports(random):
    labels = LabelSpace(names=("a", "b", "c"), kind="multi_label")
    y_true = random.integers(0, 2, (50, 3)).astype(float)
    y_true[random.random((50, 3)) < 0.2] = np.nan
    y_prob = random.random((50, 3))
    report = evaluate_multi_label(y_true, y_prob, classes=labels.names, groups=None, num_resamples=100).overall
    for name in ("auroc", "average_precision", "sensitivity", "specificity", "f1", "brier"):
        expected = report[f"macro_{name}"].value
        assert selection_metrics(y_true, y_prob, labels, name)[name] == pytest.approx(expected, rel=1e-9)
    assert selection_metrics(y_true, y_prob, labels, "macro_f1")["macro_f1"] == pytest.approx(report["macro_f1"].value)


def test_the_history_stays_small(random):
    y_true, y_prob = random.integers(0, 3, 40), random.dirichlet([1, 1, 1], 40)
    five = ["loss", "accuracy", "balanced_accuracy", "macro_f1", "auroc"]
    assert list(selection_metrics(y_true, y_prob, THREE, "loss")) == five
    values = selection_metrics(y_true, y_prob, THREE, "weighted_f1")
    assert list(values) == [*five, "weighted_f1"]
    assert values["weighted_f1"] == pytest.approx(sk.f1_score(y_true, y_prob.argmax(1), average="weighted"))


def test_an_undefined_metric_is_none():
    y_prob = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert selection_metrics(np.array([1, 1]), y_prob, BINARY, "sensitivity")["sensitivity"] is None
