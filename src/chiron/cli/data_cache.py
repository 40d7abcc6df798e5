"""`chiron data cache`."""

from pathlib import Path
from typing import Annotated

import typer

from chiron.cli.options import Debug, Json, Quiet, say, say_json, say_table, start_logging
from chiron.core.errors import EXIT_CHECK_FAILED


def cache_command(
    project: Annotated[Path, typer.Argument(help="Folder that holds the runs.")] = Path(),
    verify: Annotated[bool, typer.Option("--verify", help="Compare every image with its checksum.")] = False,
    unused_for: Annotated[
        float | None, typer.Option("--prune", min=0, help="Remove what no training used for so many days; 0: all.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show, check or remove the decoded images that trainings keep. Exit code 1 if --verify finds damage."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.cache import look_at_cache

    state = look_at_cache(project, verify=verify, unused_for=unused_for)
    entries = [*state.kept, *state.removed]
    word = {id(entry): "kept" for entry in state.kept} | {id(entry): "removed" for entry in state.removed}
    word |= {id(entry): "damaged" for entry in state.damaged}
    if as_json:
        say_json(
            [
                {
                    "cache": entry.folder.name,
                    "images": entry.num_images,
                    "bytes": entry.num_bytes,
                    "idle_days": round(entry.idle_days, 2),
                    "state": word[id(entry)],
                }
                for entry in entries
            ]
        )
    elif not entries:
        say("no decoded images are kept here")
    else:
        header = ["cache", "images", "MB", "days unused", "state"]
        say_table(
            header,
            [
                (
                    *(entry.folder.name, f"{entry.num_images:,}", f"{entry.num_bytes / 1e6:.1f}"),
                    *(f"{entry.idle_days:.1f}", word[id(entry)]),
                )
                for entry in entries
            ],
        )
    if state.damaged:
        raise typer.Exit(EXIT_CHECK_FAILED)
