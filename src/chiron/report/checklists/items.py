"""What a checklist is: a name, the publication its item numbers are from, and items with the rule that answers each."""

from dataclasses import dataclass

from chiron.report.checklists.rules import Rule


@dataclass(frozen=True)
class Item:
    """An item's number in the publication, a short title of ours, and the rule that answers it."""

    number: str
    title: str
    rule: Rule


@dataclass(frozen=True)
class Checklist:
    """A published checklist; titles are Chiron's, its wording is not copied."""

    name: str
    source: str
    items: tuple[Item, ...]
