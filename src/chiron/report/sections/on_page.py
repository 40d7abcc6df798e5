"""The sections that depend on which numbers there are, in their order on the page. To add one: a file, and its name."""

from collections.abc import Callable, Mapping
from typing import Any

from chiron.report.context import ReportContext
from chiron.report.sections import (
    calibration,
    image_level,
    prediction_sets,
    questions,
    readers,
    referral,
    subgroups,
    worst_case,
)
from chiron.report.sections.section import Section

SECTIONS: tuple[Callable[[Mapping[str, Any], ReportContext], Section | None], ...] = (
    calibration.section,
    questions.section,
    image_level.section,
    prediction_sets.section,
    referral.section,
    subgroups.section,
    subgroups.strata,
    readers.section,
    worst_case.section,
)


def sections_of(evaluation: Mapping[str, Any], context: ReportContext) -> list[Section]:
    """Every section that these numbers fill."""
    return [found for make in SECTIONS if (found := make(evaluation, context))]
