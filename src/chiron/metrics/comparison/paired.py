"""`PairedCases`: the outputs of several models for the same rows, which is what a paired comparison is made of."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from chiron.core.errors import MetricError
from chiron.metrics.cases import Cases, check_cases


@dataclass(frozen=True)
class PairedCases:
    """Cases of each model, by its name; labels and groups are the same ones in all of them."""

    of_model: Mapping[str, Cases]

    @property
    def shared(self) -> Cases:
        """The cases of the first model, for what all of them share."""
        return next(iter(self.of_model.values()))

    def identical(self, names: Sequence[str]) -> bool:
        """Whether these models give the same output for every row."""
        outputs = [self.of_model[name].y_prob for name in names]
        return all(np.array_equal(outputs[0], other) for other in outputs[1:])

    def pick(self, names: Sequence[str]) -> "PairedCases":
        """Some of the models, in this order."""
        return PairedCases({name: self.of_model[name] for name in names})


def pair_cases(
    y_true: Int[np.ndarray, "n"],
    y_prob: Mapping[str, Float[np.ndarray, "n classes"]],
    *,
    classes: Sequence[str],
    positive: str | None,
    groups: Sequence[Hashable] | None,
) -> PairedCases:
    """The checked cases of every model.

    Args:
        y_true: class index of the reference standard, the same for all models.
        y_prob: probabilities of each model by its name, rows in the order of `y_true`.
        groups: one id a row; None says that every row is its own group.
    Raises:
        MetricError: there are fewer than two models, or an argument is not what it must be.
    """
    if len(y_prob) < 2:
        raise MetricError(f"A comparison needs at least two models. Got {list(y_prob)}. Give another one.")
    ids = range(len(y_true)) if groups is None else groups
    checked = {
        name: check_cases(y_true, of_one, classes=classes, positive=positive, groups=ids)
        for name, of_one in y_prob.items()
    }
    return PairedCases({name: replace(cases, groups_given=groups is not None) for name, cases in checked.items()})
