"""`PairedResamples`: several models' numbers on the same resamples of groups, each computed when first asked for."""

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from jaxtyping import Float

from chiron.metrics.cases import Cases
from chiron.metrics.comparison.compared_number import ComparedNumber
from chiron.metrics.comparison.paired import PairedCases
from chiron.metrics.intervals.bootstrap import left_out_weights, resampled_weights
from chiron.metrics.metric import Metric
from chiron.metrics.statistics import Statistics, StatisticValues


class PairedResamples:
    """Values of the data, of resamples, and with sets of groups left out; the groups drawn are equal for all models."""

    def __init__(self, paired: PairedCases, metrics: Iterable[Metric], *, num_resamples: int, seed: int) -> None:
        unique = {metric.key: metric for metric in metrics}
        self.paired = paired
        self.num_resamples = num_resamples
        self._statistics = {name: Statistics(cases, unique.values()) for name, cases in paired.of_model.items()}
        self._seed = seed
        self._drawn: dict[str, StatisticValues] = {}
        self._left_out: dict[str, StatisticValues] = {}

    @cached_property
    def values(self) -> dict[str, StatisticValues]:
        """Each model's numbers on the data themselves."""
        return {name: statistics.of_data() for name, statistics in self._statistics.items()}

    def of_data(self, number: ComparedNumber, name: str) -> float:
        """A model's number on the data, on the scale of its differences."""
        return float(number.on_scale(self.values[name][number.key])[0])

    def drawn(self, number: ComparedNumber, weight_of: Mapping[str, float]) -> Float[np.ndarray, "resamples"]:
        """A weighted sum over models on every resample, on the number's scale; not finite where one is undefined."""
        for name in weight_of:
            if name not in self._drawn:
                blocks = resampled_weights(self._shared.num_groups, self.num_resamples, **self._sizes)
                self._drawn[name] = self._statistics[name].of_blocks(blocks)
        return _summed(number, self._drawn, weight_of)

    def left_out(self, number: ComparedNumber, weight_of: Mapping[str, float]) -> Float[np.ndarray, "sets"]:
        """The weighted sum with each set of groups left out."""
        for name in weight_of:
            if name not in self._left_out:
                blocks = left_out_weights(self._shared.num_groups, **self._sizes)
                self._left_out[name] = self._statistics[name].of_blocks(blocks)
        return _summed(number, self._left_out, weight_of)

    @property
    def _shared(self) -> Cases:
        return self.paired.shared

    @property
    def _sizes(self) -> dict[str, int]:
        return {"num_rows": self._shared.num_images, "seed": self._seed}


def _summed(
    number: ComparedNumber, values: Mapping[str, StatisticValues], weight_of: Mapping[str, float]
) -> Float[np.ndarray, "values"]:
    with np.errstate(invalid="ignore"):  # two logs of 0
        return np.sum(
            [weight * number.on_scale(values[name][number.key]) for name, weight in weight_of.items()], axis=0
        )
