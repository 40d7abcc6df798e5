"""The one place that says which interval a metric gets by default, and from how many cases on it is reliable."""

from collections.abc import Mapping
from dataclasses import dataclass

from chiron.core.errors import MetricError
from chiron.core.suggest import did_you_mean
from chiron.metrics.metric import Family, Metric

AVERAGE = "from the intervals of the classes"
AVERAGE_MIN_GROUPS = 20  # of every class, for an average over classes


@dataclass(frozen=True)
class Rule:
    """The default interval of a metric and its region of validity."""

    method: str
    min_groups: int  # of each side that counts: the denominator, each class, the class and the rest


RULES: dict[Family, Rule] = {
    Family.PROPORTION: Rule(method="Wilson", min_groups=10),
    Family.RATIO: Rule(method="log scale, delta method", min_groups=10),
    Family.AUROC: Rule(method="wider of DeLong (logit) and Hanley-McNeil score", min_groups=10),
    Family.PRECISION_MEAN: Rule(method="wider of bootstrap and Wilson", min_groups=30),
    Family.RESAMPLED: Rule(method="bootstrap, wider of BCa and t", min_groups=20),
    Family.CALIBRATION: Rule(method="consistency band", min_groups=0),
}


# What `evaluate(methods=...)` can ask for in the place of the default of a family.
ON_REQUEST: dict[Family, tuple[str, ...]] = {
    Family.PROPORTION: ("clopper_pearson",),
    Family.AUROC: ("delong", "percentile", "bca"),
    Family.RESAMPLED: ("percentile", "bca"),
}


def requested_methods(methods: Mapping[str, str] | None) -> dict[Family, str]:
    """The methods that take the place of defaults, by family.

    Args:
        methods: family to method, for example `{"proportion": "clopper_pearson", "auroc": "delong"}`.
    Raises:
        MetricError: a family has no other methods, or not this one.
    """
    asked: dict[Family, str] = {}
    for family, method in (methods or {}).items():
        if family not in ON_REQUEST:
            families = [str(name) for name in ON_REQUEST]
            raise MetricError(
                f"methods must be for {', '.join(families)}. Got {family!r}. {did_you_mean(family, families)}".rstrip()
            )
        offered = ON_REQUEST[Family(family)]
        if method not in offered:
            raise MetricError(
                f"The method of {family} must be one of {', '.join(offered)}. Got {method!r}. "
                f"{did_you_mean(method, offered) or 'Leave it out for the default.'}"
            )
        asked[Family(family)] = method
    return asked


def rule_for(metric: Metric, *, average: bool = False) -> Rule:
    """The rule of a metric; `average` asks for that of its mean over classes."""
    if average:
        return Rule(AVERAGE, max(AVERAGE_MIN_GROUPS, metric.min_groups))
    rule = RULES[metric.family]
    return Rule(rule.method, max(rule.min_groups, metric.min_groups))


def region_note(rule: Rule, num_groups: int, what: str) -> str | None:
    """The warning of an interval outside its region of validity, None inside.

    Args:
        num_groups: groups on the side that has fewest.
        what: what was counted, for example "groups of class 'mel'".
    Example:
        >>> region_note(RULES[Family.PROPORTION], 4, "groups of class 'mel'")
        "too few cases for a reliable interval (4 of 10 needed, groups of class 'mel')"
    """
    if num_groups >= rule.min_groups:
        return None
    return f"too few cases for a reliable interval ({num_groups} of {rule.min_groups} needed, {what})"
