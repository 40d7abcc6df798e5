"""`chiron bench train` and `chiron bench explainers`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chiron.cli.evaluate import shown
from chiron.cli.options import (
    Changes,
    Debug,
    Device,
    Force,
    Json,
    Quiet,
    Threads,
    say,
    say_json,
    say_table,
    start_logging,
)

app = typer.Typer(
    help="Measure how fast training is here, and which explainer finds what was planted.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

_ROWS = {
    "decode_ms_per_image": "decode a file",
    "read_ms_per_image": "read an image",
    "warp_ms_per_image": "warp an image",
    "copy_ms_per_step": "copy to the device",
    "forward_ms_per_step": "forward",
    "backward_ms_per_step": "backward",
    "optimizer_ms_per_step": "optimizer",
    "compute_ms_per_step": "a step in memory",
    "waiting_ms_per_step": "waiting for images",
    "end_to_end_ms_per_step": "a step with loader",
    "score_ms_per_image": "score an image of val",
}


@app.callback()
def bench() -> None:
    """Measure how fast training is here, and which explainer finds what was planted."""


@app.command("train")
def bench_train_command(
    name: Annotated[str, typer.Argument(help="A recipe (name or YAML file) or a model.")],
    data: Annotated[Path | None, typer.Option("--data", help="Images; by default phantoms are drawn.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps to time, after warm-up.")] = 20,
    num_images: Annotated[
        int | None, typer.Option("--num-images", min=1, help="Training images to estimate an epoch for.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Decode files in every step.")] = False,
    change: Changes = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Time decode, warp, copy, forward, backward and optimizer, and name what is slowest."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.bench import bench_train

    done = bench_train(
        name,
        data,
        overrides=tuple(change or ()),
        num_images=num_images,
        num_steps=steps,
        device=device,
        threads=threads,
        cache=not no_cache,
    )
    if as_json:
        say_json(done)
    else:
        _say(done)


@app.command("explainers")
def bench_explainers_command(
    bundles: Annotated[
        list[Path] | None,
        typer.Option("--bundles", help="A run or bundle trained on chest phantoms; repeat. By default three are made."),
    ] = None,
    methods: Annotated[list[str] | None, typer.Option("--method", help="An explainer; repeat. By default all.")] = None,
    images: Annotated[
        int, typer.Option("--images", min=1, help="Phantoms to draw; about 1 in 25 has its findings off the center.")
    ] = 1000,
    scored: Annotated[
        int, typer.Option("--scored", min=20, help="Patients for the scores that take many passes of the network.")
    ] = 30,
    difficulty: Annotated[float, typer.Option("--difficulty", min=0, max=1)] = 0.25,
    shortcut: Annotated[
        str | None, typer.Option("--shortcut", help="Plant corner_marker or ruler: do maps point at it?")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the phantoms; not one that was trained on.")] = 1000,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the evidence and its page.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Ask every explainer for findings at known places, against maps that know nothing of the network."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.workflows.bench_explainers import bench_explainers

    done = bench_explainers(
        tuple(bundles or ()),
        methods=tuple(methods or ()),
        num_images=images,
        num_scored=scored,
        difficulty=difficulty,
        shortcut=shortcut,
        seed=seed,
        out=out,
        device=device,
        threads=threads,
        force=force,
    )
    if as_json:
        say_json(done)
        return
    for network in done["networks"]:
        _say_network(network)


def _say_network(network: dict[str, Any]) -> None:
    counts = "" if network["counts"] else "; too low to count as evidence"
    say(
        f"{network['name']} ({network['kind']}): AUROC {shown(network['auroc'])}{counts}; "
        f"{network['num_images']} images, {network['num_patients']} patients"
    )
    by_hits = sorted(network["explainers"].items(), key=lambda it: -it[1]["estimates"]["pointing"]["value"])
    controls = list(by_hits[0][1]["differences"]) if by_hits else []
    say_table(
        ["explainer", "hit rate", *(f"above {control}" for control in controls), "standing"],
        [
            (name, shown(it["estimates"]["pointing"]), *(shown(it["differences"][c]["pointing"]) for c in controls),
             "recommended" if it["recommended"] else "experimental")
            for name, it in by_hits
        ],
    )  # fmt: skip
    for name, it in by_hits:
        if "where" in it:
            say(f"{name}: {it['where']['words']}")


def _say(done: dict[str, Any]) -> None:
    say(
        f"{done['model']} at {done['img_size_px']} px, batch {done['batch_size']}, {done['compute_mode']}, on "
        f"{done['device_name']} ({done['threads']} threads, {done['num_workers']} workers), {done['data']}; "
        f"medians of {done['num_steps']} steps"
    )
    say_table(
        ["part", "ms", "quartiles", "of"],
        [
            (words, f"{done[key]['median']:.2f}", f"{done[key]['low_quartile']:.2f}-{done[key]['high_quartile']:.2f}",
             key.rsplit("_", 1)[1])
            for key, words in _ROWS.items()
        ],
    )  # fmt: skip
    say(
        f"images/s: {done['end_to_end_images_per_second']:.1f} end to end, {done['compute_images_per_second']:.1f} "
        f"pure compute; {done['waiting_percent']:.0f} % of the time is waiting for images"
    )
    if done["memory_peak_mib"] is not None:
        say(f"memory peak: {done['memory_peak_mib']:,.0f} MiB of {done['memory_of']}")
    say(
        f"an epoch of {done['num_train_images']:,} images ({done['num_train_images_from']}), with val: "
        f"{_duration(done['epoch_seconds'])}; all {done['epochs']}: {_duration(done['training_seconds'])}"
    )
    say(done["bottleneck"])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
