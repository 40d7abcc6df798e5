"""`chiron evaluate`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from chiron.cli.options import (
    Debug,
    Device,
    Force,
    GroupBy,
    Groups,
    Images,
    Json,
    Labels,
    Metadata,
    NoImages,
    Privacy,
    Quiet,
    Reader,
    Threads,
    layout_of,
    say,
    say_json,
    say_table,
    start_logging,
)
from chiron.spec.decision import Tta

_FIRST = (
    "auroc",
    "macro_auroc",
    "exact_match",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "sensitivity",
    "specificity",
    "brier",
)


def evaluate_command(
    target: Annotated[Path, typer.Argument(help="A run folder, a bundle, or a predictions CSV.")],
    data: Annotated[Path | None, typer.Option("--data", help="Images with labels, for a bundle.")] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="val, cal, test, external; with --data also all.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; a run keeps its own.")] = None,
    positive: Annotated[str | None, typer.Option("--positive", help="Class of interest in a two-class CSV.")] = None,
    labels_map: Annotated[
        Path | None,
        typer.Option("--labels-map", help="YAML: the bundle's class, or null, for each label of other data."),
    ] = None,
    overlap: Annotated[
        Literal["stop", "leave-out", "accept"],
        typer.Option("--overlap", help="What to do about images of other data that the bundle's training has seen."),
    ] = "stop",
    recalibrate_on: Annotated[
        str | None,
        typer.Option(
            "--recalibrate-on",
            metavar="SPLIT",
            help="Fit calibration, thresholds and prediction sets again on this split of other data, e.g. cal, and "
            "score another one; the new bundle goes to OUT/bundle.",
        ),
    ] = None,
    subgroups: Annotated[
        list[str] | None,
        typer.Option("--subgroups", metavar="COLUMN", help="Divide by this column as well; may be repeated."),
    ] = None,
    unit: Annotated[
        Literal["image", "unit", "patient"] | None,
        typer.Option(
            "--unit",
            help="What one answer is for; default what the bundle says. Another unit of a run stands beside its "
            "results, e.g. in RUN/by_image.",
        ),
    ] = None,
    reader: Reader = None,
    labels: Labels = None,
    groups: Groups = None,
    group_by: GroupBy = None,
    images: Images = None,
    metadata: Metadata = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    privacy: Privacy = "auto",
    no_images: NoImages = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="METHOD", help="Maps of some right and wrong images of a run; e.g. auto."),
    ] = None,
    tta: Annotated[
        Tta,
        typer.Option("--tta", help="Average over views: hflip, dihedral. Results of a run go to e.g. RUN/tta_hflip."),
    ] = "none",
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score a run, a bundle on other data, or a table of predictions: numbers with intervals, and a report."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.evaluate import evaluate

    done = evaluate(
        target,
        data=data,
        split=split,
        out=out,
        positive=positive,
        unit=unit,
        layout=layout_of(reader, groups, group_by, images, metadata, labels=labels),
        labels_map=labels_map,
        overlap=overlap,
        recalibrate_on=recalibrate_on,
        subgroups=tuple(subgroups or ()),
        privacy=privacy,
        pictures=not no_images,
        explain=explain,
        tta=tta,
        force=force,
        device=device,
        threads=threads,
    )
    if as_json:
        say_json(done.numbers)
        return
    say_evaluation(done.numbers)
    if recalibrate_on is not None:
        say(f"bundle: {done.folder / 'bundle'}")
    say(f"report: {done.report}")


def say_evaluation(numbers: dict[str, Any]) -> None:
    """The headline numbers, each with its interval, beside the majority class."""
    positive = f", positive class {numbers['positive_class']}" if numbers["positive_class"] else ""
    unit = numbers["unit"]
    count = f"{unit['num_units']:,} {unit['name']}s"
    count += "" if unit["name"] == "image" else f" with {unit['num_images']:,} images"
    say(f"{numbers['split']}: {count}, {numbers['num_groups']:,} groups{positive}")
    if unit["name"] != "image" and unit["num_without_id"]:
        say(f"  {unit['num_without_id']:,} images name no {unit['name']}; each is one by itself")
    if unit["note"] is not None:
        say(f"  {unit['note']}")
    for key in _FIRST:
        if key in numbers["overall"]:
            say(f"  {key:<20} {shown(numbers['overall'][key])}{_beside(numbers, key)}")
    _say_questions(numbers["questions"])
    if again := numbers.get("recalibration"):
        say(
            f"  recalibrated on    {again['num_units']:,} {again['unit']}s in {again['num_groups']:,} groups of "
            f"{again['split']}, which are not scored"
        )
    if numbers.get("kind") == "multi_label":
        constant = numbers["baselines"]["constant"]["exact_match"]
        say(f"  constant answer      {shown(constant)} exact_match")
        say_table(
            ["class", "assessed", "present", "AUROC (interval)"],
            [
                (name, n["assessed"], n["images"], shown(numbers["per_class"][name]["auroc"]))
                for name, n in numbers["class_counts"].items()
            ],
        )
        return
    majority = numbers["baselines"]["majority_class"]
    say(f"  majority class       {shown(majority['accuracy'])} accuracy ({majority['class']})")


def _beside(numbers: dict[str, Any], key: str) -> str:
    """The same number of images, where another unit is the headline."""
    images = numbers["image_level"]
    return "" if images is None else f"  by image {shown(images['overall'][key])}"


def _say_questions(questions: dict[str, Any]) -> None:
    """Sensitivity and specificity of each question that has a threshold, beside what was promised."""
    for question, told in questions.items():
        threshold = told["threshold"]
        if threshold is None:
            continue
        promised = f", asked for {threshold['sensitivity']:.2f}" if threshold["sensitivity"] is not None else ""
        say(
            f"  {question}, yes from {threshold['value']:.4f} ({threshold['rule']}, fitted on {threshold['fitted_on']})"
        )
        say(f"    sensitivity        {shown(told['sensitivity'])}{promised}")
        say(f"    specificity        {shown(told['specificity'])}")


def shown(estimate: dict[str, Any]) -> str:
    """`0.944 (95 % CI 0.918-0.959)`, or why there is no number."""
    if estimate["value"] is None:
        return f"not defined: {estimate['note']}"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f} (no interval: {estimate['note'] or estimate['method']})"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"
