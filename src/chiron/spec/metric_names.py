"""The names of all metrics that give one number, read from their files: knowing them needs no numpy."""

import functools
from typing import Literal

from chiron.core.registry import leaf_call, leaf_names

SCORES_PACKAGE = "chiron.metrics.scores"
LOSS = "loss"  # what training calls the log loss


@functools.cache
def directions() -> dict[str, Literal["up", "down"]]:
    """Whether more or less is better, by name: `loss`, metrics of all classes or of the positive one, and means."""
    found: dict[str, Literal["up", "down"]] = {LOSS: "down"}
    for name in leaf_names(SCORES_PACKAGE):
        metric = leaf_call(SCORES_PACKAGE, name, "METRIC")
        keys = [metric.get("positive_key") or metric["key"], *(key for _, key in metric.get("averages", ()))]
        found |= dict.fromkeys(keys, metric["direction"])
    return found
