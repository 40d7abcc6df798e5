"""One metric by the name that recipes and studies use: where its value lies, and its estimate with an interval."""

from chiron.core.errors import MetricError
from chiron.core.suggest import did_you_mean
from chiron.metrics.cases import Cases
from chiron.metrics.estimate import Estimate
from chiron.metrics.estimator import Estimator
from chiron.metrics.metric import Basis, Metric, registered_metrics
from chiron.metrics.statistics import StatisticKey


def statistic_of(name: str, cases: Cases) -> tuple[Metric, StatisticKey]:
    """The metric of a name and the key of its value in `Statistics`.

    A metric of one class is that of the positive class, or without one the mean over classes.

    Raises:
        MetricError: no metric has this name, or it has no single value for these classes.
    """
    for metric in registered_metrics().values():
        averages = [key for _, key in metric.averages]
        if metric.basis == Basis.BINS or name not in (metric.key, metric.positive_key, *averages):
            continue
        if name in averages or metric.is_overall:
            return metric, (name, None)
        if cases.positive_index is not None:
            return metric, (metric.key, cases.positive_index)
        if averages:
            return metric, (averages[0], None)
    known = _names()
    raise MetricError(
        f"A metric must be one with one value for these {cases.num_classes} classes. Got {name!r}. "
        f"{did_you_mean(name, known) or 'Choose one of ' + ', '.join(known) + '.'}"
    )


def _names() -> list[str]:
    found: dict[str, None] = {}
    for metric in registered_metrics().values():
        if metric.basis != Basis.BINS:
            found |= dict.fromkeys([metric.positive_key or metric.key, *(key for _, key in metric.averages)])
    return sorted(found)


def estimate_by_name(
    name: str, cases: Cases, *, num_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """The estimate of one metric, equal to the one that `evaluate` gives among its overall numbers.

    Raises:
        MetricError: as `statistic_of`.
    """
    metric, (key, index) = statistic_of(name, cases)
    metrics = {metric.key: metric}
    if metric.mean_of is not None:  # its interval comes from there
        metrics[metric.mean_of] = registered_metrics()[metric.mean_of]
    estimator = Estimator(cases, metrics, num_resamples=num_resamples, confidence=confidence, seed=seed)
    if index is not None:
        return estimator.one_class(metric, index)
    same = dict(metric.same_as)
    if key in same:
        return estimate_by_name(same[key], cases, num_resamples=num_resamples, confidence=confidence, seed=seed)
    return estimator.overall(metric) if metric.is_overall else estimator.average(metric, key)
