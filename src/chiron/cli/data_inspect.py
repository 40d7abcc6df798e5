"""`chiron data inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.data_words import say_data
from chiron.cli.options import (
    Data,
    Debug,
    Force,
    GroupBy,
    Groups,
    Images,
    Json,
    Labels,
    Metadata,
    Quiet,
    Reader,
    TableOnly,
    layout_of,
    say,
    say_json,
    start_logging,
)
from chiron.core.errors import EXIT_CHECK_FAILED


def inspect_command(
    path: Data,
    reader: Reader = None,
    labels: Labels = None,
    groups: Groups = None,
    group_by: GroupBy = None,
    images: Images = None,
    metadata: Metadata = None,
    table_only: TableOnly = False,
    leaks: Annotated[
        Path | None, typer.Option("--leaks", help="Write the names of all leaks here, for data.accept_leaks=@FILE.")
    ] = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a data set holds: classes, groups, splits, broken images, leaks. Exit code 1 if training would stop."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.data import describe_data, inspect_data, write_leak_names

    layout = layout_of(reader, groups, group_by, images, metadata, table_only, labels)
    inspection = inspect_data(path, layout)
    described = describe_data(inspection)
    if leaks is not None:
        write_leak_names(inspection.leaks, leaks, force=force)
    if as_json:
        say_json(described)
    else:
        say_data(described)
        if leaks is not None:
            say(f"leak names: {leaks}")
    if inspection.leaks.leaks or any(described[key] for key in ("label_conflicts", "unreadable", "too_few_groups")):
        raise typer.Exit(EXIT_CHECK_FAILED)
