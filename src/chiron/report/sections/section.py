"""What a section of the page is made of: sentences, tables and figures. One template shows all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chiron.report.format import Estimate, defined
from chiron.report.tables import Footnotes, cell
from chiron.report.words import Word

Cell = str | dict[str, Any]  # text, or an estimate as `tables.cell` makes it
_PLAIN = Word("", "", unit_interval=False)


@dataclass(frozen=True)
class Row:
    """One row: what it is of, a second line for that, and its cells."""

    name: str
    cells: list[Cell]
    about: str = ""


@dataclass(frozen=True)
class Table:
    """One table, with the sentences that stand below it."""

    caption: str
    columns: list[str]  # of the cells; the first column has no own heading but `first`
    rows: list[Row]
    first: str = ""
    notes: list[tuple[str, str]] = field(default_factory=list)  # letter, note
    methods: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    id: str
    heading: str
    sentences: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)  # names of drawings
    folded: bool = False  # tables are closed at first: there are many


Given = Estimate | str | None  # an estimate, a text, or nothing


def estimates_table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, str, Sequence[Given]]],
    *,
    first: str = "",
    below: Sequence[str] = (),
    methods_by: Literal["column", "row"] = "column",
) -> Table:
    """A table of estimates and texts, with footnotes for notes and the interval methods with their columns or rows.

    Args:
        rows: name, second line, and one estimate or text a column.
        methods_by: what an interval's method goes with.
    """
    footnotes, shown = Footnotes(), []
    methods: dict[str, list[str]] = {}
    for name, about, given in rows:
        cells: list[Cell] = []
        for heading, it in zip(columns, given, strict=True):
            if not isinstance(it, Mapping):
                cells.append(it or "–")
                continue
            entry = cell(it, _PLAIN)
            entry["mark"] = footnotes.mark(entry["note"])
            of = heading if methods_by == "column" else name
            if defined(it) and of not in methods.setdefault(entry["method"], []):
                methods[entry["method"]].append(of)
            cells.append(entry)
        shown.append(Row(name, cells, about))
    told = [
        f"{', '.join(found)}: {method}" if methods_by == "column" else f"{method}: {', '.join(found)}"
        for method, found in methods.items()
    ]
    return Table(caption, list(columns), shown, first, footnotes.listed(), told, list(below))
