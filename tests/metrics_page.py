"""The reference page of metrics: what to use for which problem, written here; the tables, made of the registry.

`python tests/metrics_page.py` writes the page anew; `tests/docs/test_metrics_page.py` holds it to the registry.
"""

import importlib
from collections.abc import Iterable
from pathlib import Path

from chiron.core.files import write_text
from chiron.metrics.intervals.table import AVERAGE_MIN_GROUPS, ON_REQUEST, RULES, rule_for
from chiron.metrics.metric import SCORES_PACKAGE, Family, Metric, registered_metrics

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"

INTRODUCTION = """\
# Metrics and their intervals

Every number of `chiron evaluate`, `chiron train --score-test` and `chiron.metrics.evaluation.evaluate` stands here:
what it is, which interval it gets, and from how many cases on that interval is reliable. The class called is the most
probable one; a positive class is always one that was named. What is not defined is null with its reason, never 0.

## Which metric for which problem
The branch for classification of whole images of Metrics Reloaded (Maier-Hein, Reinke et al. 2024,
doi:10.1038/s41592-023-02151-z), in our own words. Report one metric of each kind that applies; choose before
looking.
"""

ADVICE: tuple[tuple[str, str, str], ...] = (
    (
        "Is the ranking good, whatever the threshold?",
        "`auroc`, `macro_auroc`; beside it `average_precision` where a class is rare",
        "`average_precision` depends on the prevalence: compare it on the same cases only",
    ),
    (
        "Only high specificity (rule-in) or high sensitivity (rule-out, screening) is usable",
        "`partial_auroc`, `sensitivity_at_specificity_90`, `specificity_at_sensitivity_95`",
        "the threshold is chosen on these cases: describes the ranking, is no operating point",
    ),
    (
        "Two classes, the threshold is fixed",
        "`sensitivity` and `specificity` together; `ppv` and `npv` at a stated prevalence",
        "neither alone; `accuracy` misleads where a class is rare",
    ),
    (
        "What does an output mean for one patient?",
        "`positive_likelihood_ratio`, `negative_likelihood_ratio`; predictive values at the prevalence of use",
        "`ppv` and `npv` of the data hold at the prevalence of the data alone",
    ),
    (
        "Several classes, all equally important",
        "`balanced_accuracy`; `macro_f1` where false alarms count as well; the values by class beside them",
        "a mean hides which class fails",
    ),
    (
        "Several classes, as important as they are common here",
        "`accuracy`, `weighted_f1`, `mcc`",
        "they change with the mix of the data; `micro_f1` of one class an image is the accuracy",
    ),
    (
        "One number of the whole confusion matrix",
        "`mcc`; `kappa` where agreement with readers is compared",
        "both depend on the prevalence; 0 is chance, not 0.5",
    ),
    (
        "Classes in order (grades)",
        "`kappa_quadratic` (or `kappa_linear`): `labels.ordinal: true` with `labels.names` in order",
        "the weights are part of the name; unweighted kappa counts every confusion alike",
    ),
    (
        "Errors of different cost, a decision to treat",
        "net benefit at the threshold probability, beside treating all and none "
        "(`chiron.metrics.net_benefit.net_benefits`)",
        "only of calibrated probabilities",
    ),
    (
        "Are the probabilities right?",
        "`brier` or `log_loss`, with the calibration error `ece` and its band",
        "`ece` depends on bins and number of cases: read it with its band, never alone",
    ),
    (
        "Many classes, the reader sees a short list",
        "`top_3_accuracy`, `top_5_accuracy`",
        "only from 5 and 10 classes on",
    ),
    (
        "Several classes an image, or none",
        "each class as above; `macro_auroc`, `macro_average_precision`, `exact_match`",
        "labels that were not assessed are left out class by class; each estimate says how many were",
    ),
)

FAMILIES: dict[Family, str] = {
    Family.PROPORTION: "Wilson; several images a group: Wilson on n / design effect with t of groups - 1. Never of "
    "width 0",
    Family.RATIO: "Log scale with the delta method (Simel 1991); several images a group: summed by group, with t; "
    "where a rate is 0 or 1 from the Wilson limits of both (Donner and Zou 2012)",
    Family.AUROC: "The wider of Obuchowski's clustered DeLong (logit scale, t of the smaller side's groups - 1) and "
    "the Hanley-McNeil score interval on effective numbers (Newcombe's method 5); at 0 and 1 the score interval alone",
    Family.PRECISION_MEAN: "The wider of the bootstrap's (as below) and Wilson's on the effective number of positive "
    "images, of which the value is a mean of shares",
    Family.RESAMPLED: "Cluster bootstrap: the wider of BCa, with the acceleration of leaving out groups, and the "
    "bootstrap's standard error with t on the logit (or log) scale. Over 5 % of resamples without a class: null. A "
    "mean over classes is joined from the classes' own intervals (Zou and Donner 2008), shares by mid-P. A rate at a "
    "fixed other rate lies outside its region where many images have the score at the threshold",
    Family.CALIBRATION: "None: in its place the 5 to 95 % range that a calibrated model would show on as many cases",
}

INTERVALS = """\
Resamples are of groups and not stratified by class. An estimate names its method, its images, its groups and the groups
of its class; outside the region it carries "too few cases for a reliable interval (k of n needed)".
"""

ON_REQUEST_TEXT = """\
`evaluate(..., methods={"proportion": "clopper_pearson", "auroc": "delong", "resampled": "percentile"})`, in Python
alone: each estimate then says "as requested". They are no defaults because they cover too rarely or too often:
the percentile bootstrap and plain DeLong are too narrow near 1 and with few cases, plain DeLong takes every image for
independent, Clopper-Pearson is wider than it has to be. A method that is undefined gives null; none takes its place.
"""

FUNCTIONS = """\
## At a stated prevalence, and for a decision
- `chiron.metrics.prevalence.predictive_values_at(y_score, positive, groups, threshold=..., prevalences=[...])`: PPV and
  NPV from the likelihood ratios, odds of PPV = odds of the prevalence × LR+, with the limits of the ratio (Mercaldo,
  Lau and Zhou 2007, doi:10.1002/sim.2677). Sensitivity and specificity are taken to carry over; each estimate says so.
- `chiron.metrics.net_benefit.net_benefits(y_prob, positive, groups, thresholds=[...], prevalence=None)`: TP / n −
  FP / n × t / (1 − t) of the model, of treating all (none is 0), and of the model over the better of both, paired
  (Vickers and Elkin 2006, doi:10.1177/0272989X06295361); cluster bootstrap, BCa. `net_benefits_at(...,
  prevalences=[...])` gives a curve at each prevalence; an evaluation has them beside PPV and NPV, at the stated
  prevalence and over a range.

## Not here, and why
- A micro-averaged AUROC of one class an image: it ranks outputs of different classes against each other. Where an
  image can have several classes it is reported.
- Means of likelihood ratios over classes, and of rates at a fixed rate: they are reported by class.
- A mean weighted by images where an image can have several classes.
"""


def page() -> str:
    """The reference page: advice, a table of metrics, one of intervals."""
    metrics = list(registered_metrics().values())
    return (
        "\n".join(
            [
                INTRODUCTION,
                _table(("question", "report", "mind"), ADVICE),
                "## The metrics",
                "`by class`: each class against all others; of two classes the positive one's stands among the overall "
                "numbers.\nThe key of the positive class is in brackets where it is another one.\n",
                _table(
                    ("key", "what it is", "better", "where", "means over classes", "interval", "region"),
                    map(_row, metrics),
                ),
                "## The intervals",
                INTERVALS,
                _table(("family", "default", "region", "on request"), map(_family, FAMILIES)),
                "### On request",
                ON_REQUEST_TEXT,
                FUNCTIONS,
            ]
        ).rstrip()
        + "\n"
    )


def _row(metric: Metric) -> tuple[str, ...]:
    other_key = metric.positive_key if metric.positive_key != metric.key else None
    key = f"`{metric.key}`" + (f" (`{other_key}`)" if other_key else "")
    means = ", ".join(f"`{key}`{_same(metric, key)}" for _, key in metric.averages)
    return (key, _definition(metric), metric.direction, _where(metric), means, metric.family.value, _region(metric))


def _same(metric: Metric, key: str) -> str:
    same = dict(metric.same_as)
    return f" = `{same[key]}`" if key in same else ""


def _definition(metric: Metric) -> str:
    """The title and the first sentence of the public function's docstring."""
    function = getattr(importlib.import_module(f"{SCORES_PACKAGE}.{metric.key}"), metric.key)
    return f"**{metric.title}.** {(function.__doc__ or '').strip().splitlines()[0]}"


def _where(metric: Metric) -> str:
    places = ["overall" if metric.is_overall else "by class"]
    if metric.from_classes > 2:
        places.append(f"from {metric.from_classes} classes")
    if metric.ordinal:
        places.append("`labels.ordinal`")
    return ", ".join(places)


def _region(metric: Metric) -> str:
    if metric.family == Family.CALIBRATION:
        return ""
    groups = rule_for(metric).min_groups
    mean = f"; means {max(AVERAGE_MIN_GROUPS, metric.min_groups)} of each class" if metric.averages else ""
    return f"{groups} groups{mean}"


def _family(family: Family) -> tuple[str, ...]:
    asked = ", ".join(f"`{method}`" for method in ON_REQUEST.get(family, ()))
    groups = RULES[family].min_groups
    return (family.value, FAMILIES[family], f"{groups} groups a side" if groups else "", asked)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    write_text(PAGE, page())
