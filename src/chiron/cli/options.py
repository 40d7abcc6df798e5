"""Options that several verbs share, and the two ways of talking: results to stdout, progress to stderr."""

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chiron.core.job import SaidOnce, job_rank
from chiron.spec.layout import Layout

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and more progress.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the CPU; default all.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe; may be repeated.")
]
Reader = Annotated[str | None, typer.Option("--reader", help="Force the reader instead of recognizing the layout.")]
Groups = Annotated[str | None, typer.Option("--groups", help="Another reading of the group ids, e.g. cautious.")]
Labels = Annotated[
    Literal["single", "multi"] | None,
    typer.Option("--labels", help="One class an image, or several (columns of 1, 0, -1, blank; names joined by |)."),
]
GroupBy = Annotated[
    list[str] | None, typer.Option("--group-by", metavar="COLUMN", help="Keep equal values together; may be repeated.")
]
Images = Annotated[Path | None, typer.Option("--images", help="Folder or zip of the images that a table names.")]
Metadata = Annotated[Path | None, typer.Option("--metadata", help="A second table, joined by image id.")]
NoImages = Annotated[bool, typer.Option("--no-images", help="A page without pictures: failures are listed by id.")]
TableOnly = Annotated[bool, typer.Option("--table-only", help="Read tables without looking at images.")]
Privacy = Annotated[
    Literal["auto", "project", "strict"],
    typer.Option("--privacy", help="strict: hashes in place of names, which stand in one local file; auto: for DICOM."),
]
Data = Annotated[Path, typer.Argument(help="Folder, zip, npz, table or manifest.")]


def layout_of(
    reader: str | None,
    groups: str | None,
    group_by: list[str] | None,
    images: Path | None,
    metadata: Path | None,
    table_only: bool = False,
    labels: Literal["single", "multi"] | None = None,
) -> Layout:
    """What the options say about how a data set is to be read."""
    return Layout(
        reader=reader,
        labels=labels,
        groups=groups,
        group_by=tuple(group_by or ()),
        images=images,
        metadata=metadata,
        table_only=table_only,
    )


def start_logging(*, quiet: bool, debug: bool) -> None:
    """Sends progress to stderr as plain lines, so that a log file reads as a terminal does."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("chiron")
    handler.addFilter(SaidOnce())
    logger.handlers = [handler]
    is_quiet = quiet or job_rank() > 0  # of several processes one talks
    logger.setLevel(logging.WARNING if is_quiet else logging.DEBUG if debug else logging.INFO)
    logger.propagate = False


def say(text: str) -> None:
    """One line of the result, on stdout; of several processes the first says it."""
    if job_rank() == 0:
        print(text)  # noqa: T201


def say_json(value: Any) -> None:
    """The result as JSON, on stdout."""
    say(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str))


def say_table(header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    """Columns aligned by spaces: numbers to the right."""
    table = [header, *([("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(header))]
    numeric = [
        len(table) > 1 and all(row[k].replace(",", "").replace(".", "").isdigit() for row in table[1:] if row[k])
        for k in range(len(header))
    ]
    for row in table:
        cells = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True)]
        say("  ".join(cells).rstrip())


def want_debug(arguments: list[str]) -> bool:
    """Whether `--debug` stands among the arguments, known before they are parsed."""
    return "--debug" in arguments
