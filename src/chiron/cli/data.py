"""`chiron data inspect | split | make | show`; the other verbs have files of their own."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chiron.cli import fetch
from chiron.cli.audit import audit_command
from chiron.cli.cache import cache_command
from chiron.cli.options import (
    Changes,
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
    say_table,
    start_logging,
)
from chiron.core.errors import EXIT_CHECK_FAILED, SpecError

app = typer.Typer(help="Fetch, look at, split, make and keep data.", no_args_is_help=True, rich_markup_mode=None)
app.command("audit")(audit_command)
app.command("cache")(cache_command)
app.add_typer(fetch.app, name="fetch")


@app.command("inspect")
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
        _say_data(described)
        if leaks is not None:
            say(f"leak names: {leaks}")
    if inspection.leaks.leaks or any(described[key] for key in ("label_conflicts", "unreadable", "too_few_groups")):
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command("split")
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
        privacy=privacy,
        force=force,
    )
    described = [describe_data(inspect_manifest(manifest)) for manifest in done.manifests]
    repaired = {} if done.repair is None else {"repair": done.repair.to_json()}
    if as_json:
        say_json((described[0] if folds is None else {"fold_role": fold_role, "folds": described}) | repaired)
        return
    if repaired:
        _say_repair(repaired["repair"])
    if folds is None:
        _say_data(described[0])
        say(f"manifest: {out}")
    else:
        _say_folds(described)
        say(f"manifests: {out / 'fold-0'} to {out / f'fold-{folds - 1}'}")


@app.command("make")
def make_command(
    kind: Annotated[str, typer.Argument(help="phantom-cxr or phantom-derm")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    count: Annotated[int, typer.Option("--count", min=2, help="Number of images.")] = 2000,
    img_size: Annotated[int, typer.Option("--img-size", min=28, max=2048, help="Side in pixels.")] = 96,
    difficulty: Annotated[float, typer.Option("--difficulty", min=0, max=1)] = 0.5,
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            help="manifest, class_folders, csv, medmnist, roboflow; chests: kermany, and with several "
            "findings chexpert, nih; skin: ham10000, isic2019.",
        ),
    ] = "manifest",
    shortcut: Annotated[
        str | None, typer.Option("--shortcut", help="Plant a mark of the class: corner_marker, ruler or tone.")
    ] = None,
    shortcut_strength: Annotated[
        float, typer.Option("--shortcut-strength", min=0, max=1, help="How often the mark follows the class.")
    ] = 1.0,
    label_noise: Annotated[
        float, typer.Option("--label-noise", min=0, max=1, help="Share of lesions or patients with a wrong label.")
    ] = 0.0,
    tone_error: Annotated[
        float, typer.Option("--tone-error", min=0, max=1, help="How far findings fade in dark skin or exposures.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw synthetic images with their whole truth, in the layout of a real data set."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.data.phantoms.planted import Planted
    from chiron.workflows.phantoms import make_phantoms

    make_phantoms(
        kind,
        out,
        num_images=count,
        img_size=img_size,
        difficulty=difficulty,
        layout=layout,
        seed=seed,
        planted=Planted(shortcut, shortcut_strength, label_noise, tone_error),
        force=force,
    )
    say(f"{count} images: {out}")


@app.command("show")
def show_command(
    path: Data,
    out: Annotated[Path, typer.Option("--out", help="The PNG file to write; it holds the images.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Show what this recipe makes: a file or a packaged name.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Or an augmentation by name, at 224 pixels; e.g. derm, cxr_safe.")
    ] = None,
    changes: Changes = None,
    count: Annotated[int, typer.Option("--count", min=1, max=100, help="Images, of every class in turn.")] = 8,
    draws: Annotated[int, typer.Option("--draws", min=1, max=50, help="Augmented draws of each.")] = 6,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of images and of the draws.")] = 0,
    masks: Annotated[
        bool, typer.Option("--masks", help="Outline the lungs of chest radiographs, as found without training.")
    ] = False,
    reader: Reader = None,
    images: Images = None,
    metadata: Metadata = None,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a contact sheet: images as stored, as finished for evaluation, and augmented for training."""
    start_logging(quiet=quiet, debug=debug)
    if out.suffix.lower() != ".png":
        raise SpecError(f"A contact sheet must be a .png file. Got {out}. Change --out.")
    from chiron.workflows.show import show_data, show_recipe

    shown = show_data(
        path,
        out,
        show_recipe(recipe, preset, changes or ()),
        layout=layout_of(reader, None, None, images, metadata),
        count=count,
        draws=draws,
        seed=seed,
        masks=masks,
        force=force,
    )
    if shown.num_lungs_found is not None:
        say(f"lungs found in {shown.num_lungs_found} of {shown.num_images} images, two boxes in the others")
    say(f"{shown.num_images} images, {draws} draws each: {out}")


def _say_data(described: dict[str, Any]) -> None:
    _say_source(described)
    for note in described["notes"]:
        say(f"note: {note}")
    say_table(
        ["split", "class", "images", "groups", "% of images", "% of groups"],
        [
            (
                *(split, name, f"{cell['images']:,}", f"{cell['groups']:,}"),
                *(f"{100 * cell['share']:.1f}", f"{100 * cell['group_share']:.1f}"),
            )
            for split, classes in described["splits"].items()
            for name, cell in classes.items()
        ],
    )
    _say_problems(described)


def _say_repair(repair: dict[str, Any]) -> None:
    """What the splits held before and after, so that two scores on them are not compared without a look at it."""
    say(f"repair: {repair['num_groups']:,} groups stood in several splits; {repair['num_moved']:,} images moved")
    rows: list[tuple[str, ...]] = []
    for role, before in repair["before"].items():
        pair = (before, repair["after"][role])
        rows.append((role, "images", *(f"{state['num_images']:,}" for state in pair)))
        rows.append((role, "of groups in another split", *(f"{state['num_shared']:,}" for state in pair)))
        for name in before["prevalence"]:
            rows.append((role, f"% {name}", *(_percent(state["prevalence"].get(name)) for state in pair)))
        always = (_percent(state["majority_accuracy"]) for state in pair)
        rows.append((role, "% right by always saying the largest class of train", *always))
    say_table(["split", "what", "before", "after"], rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _say_folds(described: list[dict[str, Any]]) -> None:
    """The counts of all folds: images and groups of every split, and the images of every class."""
    _say_source(described[0])
    classes = described[0]["classes"]
    say_table(
        ["fold", "split", "images", "groups", *classes],
        [
            (
                *(fold["fold"], split, f"{fold['sizes'][split]['images']:,}", f"{fold['sizes'][split]['groups']:,}"),
                *(f"{cells[name]['images']:,}" for name in classes),
            )
            for fold in described
            for split, cells in fold["splits"].items()
        ],
    )
    for note in described[0]["notes"]:
        say(f"note: {note}")
    for fold in described:
        _say_problems(fold)


def _say_source(described: dict[str, Any]) -> None:
    say(f"{described['source']}: {described['num_images']:,} images, {described['num_groups']:,} groups")
    say(f"reader {described['reader']}; {described['grouping']}")
    largest, smallest = described["imbalance"]["largest"], described["imbalance"]["smallest"]
    ratio = described["imbalance"]["ratio"]
    if ratio == 1:
        say(f"imbalance: 1.0 (every class {largest['images']:,} images)")
        return
    say(
        f"imbalance: {f'{ratio:.1f}' if ratio else 'not defined'} (largest class {largest['class']} "
        f"{largest['images']:,} images, smallest {smallest['class']} {smallest['images']:,})"
    )


def _say_problems(described: dict[str, Any]) -> None:
    for path in described["unreadable"][:20]:
        say(f"unreadable: {path}")
    for conflict in described["label_conflicts"][:20]:
        say(f"CONFLICT: identical images with different labels: {conflict}")
    for name, groups in described["too_few_groups"].items():
        say(f"TOO FEW: class {name} has {groups} group{'s' * (groups != 1)}; train and val need one each")
    if described["unreadable"] or described["label_conflicts"] or described["too_few_groups"]:
        say("training refuses to start until these are mended")
    for kind, key in (("LEAK", "leaks"), ("suspect", "suspects")):
        found = described["leaks"][key]
        for pair in found[:10]:
            say(f"{kind}: {pair['kind']}: {pair['name']}")
        if found:
            say(f"{kind}: {len(found):,} pairs in all" + ("; training refuses to start" if kind == "LEAK" else ""))
