"""`chiron plan`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chiron.cli.options import Debug, Json, say, say_json, say_table


def plan_command(
    target: Annotated[
        Path | None, typer.Argument(help="A test set that there is: run folder, manifest or predictions CSV.")
    ] = None,
    metric: Annotated[
        Literal["accuracy", "sensitivity", "specificity", "auroc"], typer.Option("--metric", help="What is measured.")
    ] = "auroc",
    expect: Annotated[float, typer.Option("--expect", help="Its expected value.")] = 0.9,
    half_width: Annotated[float | None, typer.Option("--half-width", help="How narrow the interval is to be.")] = None,
    difference: Annotated[
        float | None, typer.Option("--difference", help="Between two models on the same cases; new minus old.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option("--margin", help="Show that the new model is not worse by this much.")
    ] = None,
    prevalence: Annotated[float, typer.Option("--prevalence", help="Share of positive groups; without TARGET.")] = 0.5,
    images_per_group: Annotated[
        float, typer.Option("--images-per-group", help="Mean number a patient or lesion; without TARGET.")
    ] = 1,
    correlation: Annotated[
        float, typer.Option("--correlation", help="Of two images of a group; at 1 only groups count.")
    ] = 1,
    between_models: Annotated[
        float, typer.Option("--between-models", help="Correlation of the AUROCs of two models.")
    ] = 0.5,
    discordant: Annotated[
        float | None, typer.Option("--discordant", help="Share of cases that one model alone has right.")
    ] = None,
    power: Annotated[float, typer.Option("--power", help="Chance to find what is there.")] = 0.8,
    alpha: Annotated[float, typer.Option("--alpha", help="Two-sided; a margin is tested at half of it.")] = 0.05,
    split: Annotated[str | None, typer.Option("--split", help="Of TARGET; by default test.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell how many groups (patients, lesions) a test set needs for a wish, or what the test set TARGET can show."""
    from chiron.workflows.sample_size import Wish, needed_for, shown_by

    wish = Wish(
        metric=metric,
        expected=expect,
        half_width=half_width,
        difference=difference,
        margin=margin,
        prevalence=prevalence,
        images_per_group=images_per_group,
        correlation=correlation,
        between_models=between_models,
        discordant=discordant,
        power=power,
        alpha=alpha,
    )
    if target is not None:
        found = shown_by(target, wish, split=split)
        say_json(found) if as_json else _say_shown(found)
        return
    rows = needed_for(wish)
    if as_json:
        say_json(rows)
        return
    say_table(
        ["wanted", "independent cases", "of them count", "groups in all", "images in all"],
        [(row["what"], row["cases"], row["counted"], row["groups"], row["images"]) for row in rows],
    )
    say("for large numbers; a class with under 10 groups gives no reliable interval whatever the width")


def _say_shown(found: dict[str, Any]) -> None:
    wish = found["wish"]
    say(
        f"{found['target']} ({found['split']}): {found['images']:,} images in {found['groups']:,} groups, design "
        f"effect {found['design_effect']:.2f}"
    )
    say(
        f"accuracy of {wish['expected']:g}: ± {found['accuracy']['half_width']:.3f}; smallest difference to find "
        f"{_number(found['accuracy']['detectable'])}, where {found['discordant']:g} of the cases are discordant"
    )
    say_table(
        ["class", "images", "groups", "sensitivity ±", "AUROC ±", "smallest AUROC difference"],
        [
            (row["class"], row["images"], row["groups"], _number(row["sensitivity_half_width"]),
             _number(row["auroc_half_width"]), _number(row["auroc_detectable"]))
            for row in found["classes"]
        ],
    )  # fmt: skip
    say(
        f"at an expected {wish['expected']:g}, power {wish['power']:g}, alpha {wish['alpha']:g}, correlation of a "
        f"group's images {wish['correlation']:g}, of two models' AUROCs {wish['between_models']:g}; - : not reachable"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
