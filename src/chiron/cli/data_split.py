"""`chiron data split`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from chiron.cli.data_words import say_data, say_folds, say_repair
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
    Privacy,
    Quiet,
    Reader,
    TableOnly,
    layout_of,
    say,
    say_json,
    start_logging,
)
from chiron.core.errors import SpecError


def split_command(
    path: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for the manifest.")],
    train: Annotated[float, typer.Option(min=0, max=1)] = 0.7,
    val: Annotated[float, typer.Option(min=0, max=1)] = 0.15,
    test: Annotated[float, typer.Option(min=0, max=1)] = 0.15,
    cal: Annotated[float, typer.Option(min=0, max=1)] = 0.0,
    external: Annotated[float, typer.Option(min=0, max=1)] = 0.0,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Write OUT/fold-0, OUT/fold-1, ...; each holds out another fold."),
    ] = None,
    fold_role: Annotated[
        Literal["test", "val"], typer.Option("--fold-role", help="What the held-out fold is; it replaces that share.")
    ] = "test",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    ignore_existing: Annotated[
        bool, typer.Option("--ignore-existing", help="Split anew, even where the data set comes with splits.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep existing splits, but give every group that crosses them to one.")
    ] = False,
    by: Annotated[
        str | None, typer.Option("--by", metavar="COLUMN", help="site, date or a column: test on other sites or later.")
    ] = None,
    test_sites: Annotated[
        list[str] | None, typer.Option("--test-sites", metavar="NAME", help="A site to test on; may be repeated.")
    ] = None,
    after: Annotated[
        datetime | None, typer.Option("--after", formats=["%Y-%m-%d"], help="Test on everything after this day.")
    ] = None,
    reader: Reader = None,
    labels: Labels = None,
    groups: Groups = None,
    group_by: GroupBy = None,
    images: Images = None,
    metadata: Metadata = None,
    table_only: TableOnly = False,
    privacy: Privacy = "auto",
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a manifest whose groups never cross splits; train on it with --data OUT (or OUT/fold-0, ...)."""
    start_logging(quiet=quiet, debug=debug)
    fractions = {"train": train, "val": val, "cal": cal, "test": test, "external": external}
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise SpecError(f"The shares of the splits must sum to 1. Got {sum(fractions.values()):g}. Change --train.")
    if by is None and (test_sites or after is not None):
        raise SpecError("--test-sites and --after say how to split by a column. Got no --by. Add --by site or date.")
    from chiron.data.split_by import SplitBy
    from chiron.workflows.data import describe_data, inspect_manifest, split_data

    done = split_data(
        path,
        out,
        fractions={role: share for role, share in fractions.items() if share},
        layout=layout_of(reader, groups, group_by, images, metadata, table_only, labels),
        seed=seed,
        keep_existing=not ignore_existing,
        folds=folds,
        fold_role=fold_role,
        repair=repair,
        by=None if by is None else SplitBy(by, tuple(test_sites or ()), after.date() if after else None),
        privacy=privacy,
        force=force,
    )
    described = [describe_data(inspect_manifest(manifest)) for manifest in done.manifests]
    repaired = {} if done.repair is None else {"repair": done.repair.to_json()}
    if as_json:
        say_json((described[0] if folds is None else {"fold_role": fold_role, "folds": described}) | repaired)
        return
    if repaired:
        say_repair(repaired["repair"])
    if folds is None:
        say_data(described[0])
        say(f"manifest: {out}")
    else:
        say_folds(described)
        say(f"manifests: {out / 'fold-0'} to {out / f'fold-{folds - 1}'}")
