"""The checklists of a report, every item answered by its rule. Nothing is counted or graded: a list is no badge."""

from collections.abc import Mapping
from typing import Any

from chiron.report.checklists import claim, clear_derm, stard_ai, tripod_ai
from chiron.report.checklists.items import Checklist
from chiron.report.checklists.rules import Facts
from chiron.report.context import ReportContext

SKIN = ("skin", "dermat", "dermosc", "melanoma", "nevus", "naevus")


def answered_checklists(
    evaluation: Mapping[str, Any], context: ReportContext, sections: frozenset[str]
) -> list[dict[str, Any]]:
    """Name, source, size and rows of every checklist that fits, ready to print.

    Args:
        sections: ids of the sections that the page has, which alone can hold evidence.
    """
    facts = Facts(evaluation, context, sections)
    lists = [claim.CHECKLIST, tripod_ai.CHECKLIST, stard_ai.CHECKLIST]
    if is_skin(evaluation, context):
        lists.append(clear_derm.CHECKLIST)
    return [
        {
            "name": checklist.name,
            "source": checklist.source,
            "size": _size(checklist),
            "rows": [
                {"number": item.number, "title": item.title, "answer": item.rule(facts)} for item in checklist.items
            ],
        }
        for checklist in lists
    ]


def _size(checklist: Checklist) -> str:
    """How many items the list has, by the sections of its publication, and what that was compared with."""
    rows = "" if len(checklist.items) == checklist.num_items else f" in {len(checklist.items)} rows"
    parts = ", ".join(f"{name} {number}" for name, number in checklist.sizes.items())
    return f"{checklist.num_items} items{rows}{': ' * bool(parts)}{parts}. {checklist.checked}"


def is_skin(evaluation: Mapping[str, Any], context: ReportContext) -> bool:
    """Whether the author's words or the classes speak of skin; `mel` and `nv` together are names of lesions."""
    classes = {name.casefold() for name in evaluation["classes"]}
    texts = (context.task, context.population, context.reference_standard, context.data_source, *classes)
    return {"mel", "nv"} <= classes or any(word in text.casefold() for word in SKIN for text in texts)
