"""The limits of a result, found by rule from the evaluation and its context, never written by hand.

A rule is a function that returns one sentence with its numbers, or None where the limit does not hold. Rules stand in
`limits_of_design`, `limits_of_data` and `limits_of_numbers`, by what they look at. To add a limit, add a rule and put
it into `RULES`; the order there is the order on the page, gravest first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chiron.report import limits_of_data as data
from chiron.report import limits_of_design as design
from chiron.report import limits_of_numbers as numbers
from chiron.report.context import ReportContext

Evaluation = Mapping[str, Any]


@dataclass(frozen=True)
class Limit:
    """One limit: the name of its rule and a sentence."""

    rule: str
    sentence: str


def limits_of(
    evaluation: Evaluation, context: ReportContext, *, exact: tuple[Evaluation, ReportContext] | None = None
) -> list[Limit]:
    """Every limit that holds, in the order of `RULES`.

    Args:
        exact: what decides whether a limit holds where counts were made coarse and numbers withheld. The sentences are
            made from what is shown, or are the rule's own first line where its numbers would be wrong or would not
            bring the limit up; a limit on values that are withheld is left out.
    """
    if exact is None:
        return [Limit(rule.__name__, sentence) for rule in RULES if (sentence := rule(evaluation, context))]
    found = []
    for rule in (rule for rule in RULES if rule(*exact)):
        sentence = None if rule in ON_SHARES else rule(evaluation, context)
        if sentence or rule not in ON_VALUES:
            found.append(Limit(rule.__name__, sentence or _first_line(rule)))
    return found


def _first_line(rule: Callable[..., Any]) -> str:
    return (rule.__doc__ or "").splitlines()[0]


RULES: tuple[Callable[[Evaluation, ReportContext], str | None], ...] = (
    design.sanity_run,
    design.leaks_accepted,
    design.selected_where_scored,
    design.split_unknown,
    design.test_looks,
    numbers.no_better_than_majority,
    numbers.promise_not_kept,
    design.recalibrated,
    design.no_external_data,
    data.one_source,
    data.split_unlike_others,
    data.patients_unknown,
    data.ids_inferred,
    data.image_level,
    numbers.labels_not_assessed,
    numbers.small_class,
    numbers.few_positives,
    numbers.unreliable_intervals,
    numbers.undefined_numbers,
    numbers.miscalibrated,
    design.fitted_where_selected,
    numbers.views_averaged,
    design.imbalance_corrected_twice,
    design.probabilities_shifted,
    data.prevalence_unlike_clinic,
    data.unreadable_images,
    data.characteristics_not_recorded,
    data.population_not_described,
    data.reference_not_described,
    design.random_init,
    design.one_seed,
    numbers.other_images,
    numbers.untested_differences,
)

# What the sentence of a rule tells, which decides how a page with coarse counts tells it.
ON_SHARES = (data.split_unlike_others, data.prevalence_unlike_clinic, design.random_init)  # shares and sums of counts
ON_VALUES = (
    numbers.promise_not_kept,
    numbers.no_better_than_majority,
    numbers.unreliable_intervals,
    numbers.undefined_numbers,
    numbers.miscalibrated,
)
