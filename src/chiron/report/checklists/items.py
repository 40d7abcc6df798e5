"""What a checklist is: a name, the publication its item numbers are from, and items with the rule that answers each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chiron.report.checklists.rules import Rule

AGAINST_COPIES = "Numbers and topics agree with copies of the published table; the publication itself was not at hand."
NOT_CHECKED = "Numbers and topics could not be compared with the published table."


@dataclass(frozen=True)
class Item:
    """An item's number in the publication, a short title of ours, and the rule that answers it."""

    number: str
    title: str
    rule: Rule


@dataclass(frozen=True)
class Checklist:
    """A published checklist; titles are Chiron's, its wording is not copied.

    `parts` names the publication's sections with the last item of each; empty where they are not known for sure.
    """

    name: str
    source: str
    checked: str  # what numbers and topics were compared with
    items: tuple[Item, ...]
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_items(self) -> int:
        """Whole items; "12a" and "12b" are one."""
        return len({whole_number(item) for item in self.items})

    @property
    def sizes(self) -> dict[str, int]:
        """Whole items of each section."""
        ends = [0, *self.parts.values()]
        return {name: end - start for name, start, end in zip(self.parts, ends, ends[1:], strict=False)}


def whole_number(item: Item) -> int:
    """The number without the letter of a sub-item.

    Raises:
        ValueError: it does not begin with a number.
    """
    if not (found := re.match(r"\d+", item.number)):
        raise ValueError(f"An item's number must begin with digits. Got {item.number!r}.")
    return int(found[0])
