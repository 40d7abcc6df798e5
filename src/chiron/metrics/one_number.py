"""One metric's plain value, without an interval: what training selects by. Names are those of `spec/metric_names.py`."""

import numpy as np
from jaxtyping import Float, Int

from chiron.metrics.cases import Cases
from chiron.metrics.metric import Basis, Metric, registered_metrics
from chiron.metrics.statistics import Statistics


def one_number(
    name: str,
    y_true: Int[np.ndarray, "n"],
    y_prob: Float[np.ndarray, "n classes"],
    *,
    positive_index: int | None,
) -> float:
    """The metric `name` as `evaluate` computes it; NaN where it is not defined.

    A metric of one class is that of the positive class, or without one the mean over classes.
    """
    count = y_prob.shape[1]
    positive = positive_index if count == 2 else None
    cases = Cases(
        y_true=y_true,
        y_prob=y_prob,
        y_pred=y_prob.argmax(axis=1),
        group_index=np.arange(len(y_true)),
        num_groups=len(y_true),
        classes=tuple(str(k) for k in range(count)),
        positive_index=positive,
        groups_given=False,
    )
    metric = _metric_of(name)
    if metric.basis == Basis.BINS:
        return float(metric.compute(cases))
    values = Statistics(cases, [metric]).of_data()
    if (name, None) in values:
        return float(values[name, None][0])
    classes = range(count) if positive is None else [positive]
    return float(np.mean([values[metric.key, k][0] for k in classes]))


def one_number_of_labels(
    name: str, y_true: Float[np.ndarray, "n classes"], y_prob: Float[np.ndarray, "n classes"]
) -> float:
    """The mean of the metric over the classes that have both values, each a two-class question of its own.

    A class is called present at an output of 0.5 and more. NaN where no class has both values.

    Args:
        y_true: 1 present, 0 absent, NaN not assessed.
    """
    metric = _metric_of(name)
    plain = metric.positive_key or metric.key
    values = []
    for present, prob in zip(y_true.T, y_prob.T, strict=True):
        rows = ~np.isnan(present)
        absent = (present[rows] == 0).astype(np.int64)
        if 0 < absent.sum() < len(absent):
            both = np.stack([prob[rows], 1 - prob[rows]], axis=1)  # present first: 0.5 counts as present
            values.append(one_number(plain, absent, both, positive_index=0))
    return float(np.mean(values)) if values else np.nan


def _metric_of(name: str) -> Metric:
    """The metric that gives the number `name`, in the form of `key`, of its positive class, or of an average."""
    for metric in registered_metrics().values():
        if name in (metric.positive_key or metric.key, *(key for _, key in metric.averages)):
            return metric
    raise KeyError(name)
