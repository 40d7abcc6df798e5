"""Whatever is registered as a metric is checked here: perfect, random and degenerate data, order of rows and labels."""

import numpy as np
import pytest

from chiron.metrics.cases import check_cases
from chiron.metrics.evaluation import evaluate
from chiron.metrics.intervals.table import RULES, rule_for
from chiron.metrics.metric import Basis, Metric, Need, registered_metrics
from chiron.metrics.statistics import Statistics

NAMES = ["x", "y", "z"]
METRICS = registered_metrics()


def cases_of(y_true, y_prob, names=NAMES, positive=None):
    return check_cases(y_true, y_prob, classes=names, positive=positive, groups=None)


def random_data(seed=0, num_images=400, strength=0.0, num_classes=3):
    rng = np.random.default_rng(seed)
    y_true = np.arange(num_images) % num_classes
    logits = rng.normal(size=(num_images, num_classes)) + strength * np.eye(num_classes)[y_true]
    return y_true, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def data_for(metric: Metric, **options):
    """Data with as many classes as the metric needs, and their names."""
    num_classes = max(3, metric.from_classes)
    return *random_data(num_classes=num_classes, **options), [f"c{i}" for i in range(num_classes)]


def values(metric: Metric, cases) -> np.ndarray:
    """The metric's own values: one, or one a class."""
    if metric.basis == Basis.BINS:
        return np.array([metric.compute(cases)])
    of_data = Statistics(cases, [metric]).of_data()
    return np.array([value[0] for (key, _), value in of_data.items() if key == metric.key])


def test_the_metrics_of_an_evaluation_are_found():
    assert {"accuracy", "auroc", "average_precision", "balanced_accuracy", "brier", "ece"} < set(METRICS)
    assert {"mcc", "kappa", "partial_auroc", "positive_likelihood_ratio", "top_3_accuracy"} < set(METRICS)
    assert {"f1", "log_loss", "npv", "precision", "sensitivity", "specificity"} < set(METRICS)


@pytest.mark.parametrize("name", METRICS)
class TestMetric:
    def test_says_what_it_is(self, name):
        metric = METRICS[name]
        assert metric.key == name
        assert metric.title
        assert metric.direction in ("up", "down")
        assert rule_for(metric).method == RULES[metric.family].method
        assert metric.is_overall or metric.per_class or metric.positive_key
        assert dict(metric.same_as).keys() <= {key for _, key in metric.averages}

    def test_perfect_predictions_reach_the_best_value(self, name):
        y_true, _, names = data_for(METRICS[name])
        best = 1.0 if METRICS[name].direction == "up" else 0.0
        if METRICS[name].direction == "up" and np.isinf(METRICS[name].upper_bound):
            best = np.nan  # there is no largest value
        mine = values(METRICS[name], cases_of(y_true, np.eye(len(names))[y_true], names))
        np.testing.assert_allclose(mine, best, atol=1e-12)

    def test_random_predictions_are_worse_than_informed_ones(self, name):
        sign = 1 if METRICS[name].direction == "up" else -1
        chance = values(METRICS[name], cases_of(*data_for(METRICS[name])))
        # Confidences about as high as the model is right, so that calibration is better as well.
        informed = values(METRICS[name], cases_of(*data_for(METRICS[name], strength=1.0)))
        assert np.isfinite(chance).all()
        assert (sign * (informed - chance) > 0.02).all()

    def test_order_of_rows_does_not_matter(self, name):
        y_true, y_prob = random_data(strength=1.0)
        order = np.random.default_rng(1).permutation(len(y_true))
        np.testing.assert_allclose(
            values(METRICS[name], cases_of(y_true[order], y_prob[order])),
            values(METRICS[name], cases_of(y_true, y_prob)),
            atol=1e-12,
        )

    def test_order_of_labels_does_not_matter(self, name):
        if METRICS[name].ordinal:
            pytest.skip("the classes are in order")
        y_true, y_prob = random_data(strength=1.0)
        before = values(METRICS[name], cases_of(y_true, y_prob))
        new_order = [2, 0, 1]  # position of each new column in the old list
        after = values(
            METRICS[name],
            cases_of(np.argsort(new_order)[y_true], y_prob[:, new_order], [NAMES[i] for i in new_order]),
        )
        np.testing.assert_allclose(after, before if len(before) == 1 else before[new_order], atol=1e-12)

    def test_undefined_exactly_where_a_need_is_unmet(self, name):
        """All images of one class, all called that class: what needs anything else is undefined, no more."""
        metric = METRICS[name]
        mine = values(metric, cases_of(np.zeros(30, dtype=int), np.tile([0.8, 0.1, 0.1], (30, 1))))
        there = {Need.CLASS: [1, 0, 0], Need.REST: [0, 1, 1], Need.PREDICTED: [1, 0, 0], Need.PREDICTED_REST: [0, 1, 1]}
        there |= {Need.FALSE_ALARM: [0, 0, 0], Need.RIGHT_DISMISSAL: [0, 1, 1]}
        defined = np.all([there[need] for need in metric.needs], axis=0) if metric.needs else np.array([True])
        defined = np.array([defined.all()]) if metric.is_overall else defined
        np.testing.assert_array_equal(np.isfinite(mine), defined)

    def test_doubling_every_row_leaves_the_value(self, name):
        y_true, y_prob = random_data(strength=1.0)
        twice = cases_of(np.tile(y_true, 2), np.tile(y_prob, (2, 1)))
        np.testing.assert_allclose(
            values(METRICS[name], twice), values(METRICS[name], cases_of(y_true, y_prob)), atol=1e-12
        )


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_data_give_null_with_a_reason_wherever_a_number_is_missing(only):
    y_prob = np.column_stack([np.linspace(0.1, 0.9, 30), np.linspace(0.9, 0.1, 30)])
    evaluation = evaluate(
        np.full(30, only), y_prob, classes=["well", "sick"], positive="sick", groups=None, num_resamples=100
    )
    for key in ("auroc", "average_precision", "balanced_accuracy", "macro_f1"):
        assert evaluation.overall[key].value is None
        assert evaluation.overall[key].note
    for key, name in {"sensitivity": "sick", "specificity": "well"}.items():
        estimate = evaluation.overall[key]
        is_defined = ["well", "sick"][only] == name
        assert (estimate.value is not None) == is_defined
        assert is_defined or "class 'sick'" in estimate.note
    assert evaluation.overall["accuracy"].value == pytest.approx(0.5)
    assert evaluation.curves["roc"]["sick"] is None


def test_limits_do_not_depend_on_the_order_of_labels():
    y_true, y_prob = random_data(strength=1.0)
    first = evaluate(y_true, y_prob, classes=NAMES, positive=None, groups=None, num_resamples=200)
    order = [2, 0, 1]
    second = evaluate(
        np.argsort(order)[y_true],
        y_prob[:, order],
        classes=[NAMES[i] for i in order],
        positive=None,
        groups=None,
        num_resamples=200,
    )
    for key, estimate in first.overall.items():
        assert second.overall[key].value == pytest.approx(estimate.value, abs=1e-12), key
        assert second.overall[key].low == pytest.approx(estimate.low, abs=1e-9), key
    for name in NAMES:
        assert second.per_class[name]["f1"].high == pytest.approx(first.per_class[name]["f1"].high, abs=1e-9)
