"""`chiron data audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiron.cli.options import (
    Data,
    Debug,
    Force,
    GroupBy,
    Groups,
    Images,
    Json,
    Metadata,
    Privacy,
    Quiet,
    Reader,
    layout_of,
    say,
    say_json,
    start_logging,
)
from chiron.core.errors import EXIT_CHECK_FAILED

if TYPE_CHECKING:
    from chiron.audit.findings import Audit

_WORDS = {"stops": "STOPS", "look": "look ", "clear": "ok   "}


def audit_command(
    path: Data,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for audit.json, manifest, duplicates.csv and recipe.yaml.")
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Also a page with pictures: audit.html in --out, by default in `audit`.")
    ] = False,
    predictions: Annotated[
        list[Path] | None,
        typer.Option("--predictions", help="Table of a fold's run that did not see these images; may be repeated."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for suspects and alarms too.")] = False,
    reader: Reader = None,
    groups: Groups = None,
    group_by: GroupBy = None,
    images: Images = None,
    metadata: Metadata = None,
    privacy: Privacy = "auto",
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look for leaks, copies, bad pictures, shortcuts and doubtful labels. Exit code 1 if training would stop."""
    start_logging(quiet=quiet, debug=debug)
    from chiron.report.audit_page import verdicts
    from chiron.workflows.audit import audit_data, require_audit_folder, write_audit

    out = out or (Path("audit") if html else None)
    if out is not None:
        require_audit_folder(out, path, force=force)
    layout = layout_of(reader, groups, group_by, images, metadata)
    audit = audit_data(path, layout, predictions=predictions or (), privacy=privacy, out=out)
    written = write_audit(audit, out, page=html) if out is not None else []
    if as_json:
        say_json(audit.to_json())
    else:
        say(f"{audit.manifest.root}: {audit.fingerprint.num_images:,} images, {audit.fingerprint.num_groups:,} groups")
        for weight, sentence in verdicts(audit):
            say(f"{_WORDS[weight]}  {sentence}")
        _say_lists(audit)
        for file in written:
            say(f"written: {file}")
    if audit.stops or (strict and audit.has_suspects):
        raise typer.Exit(EXIT_CHECK_FAILED)


def _say_lists(audit: "Audit") -> None:
    """The first few of everything that has a name."""
    for path in audit.unreadable[:10]:
        say(f"unreadable: {path}")
    for leak in audit.leaks.leaks[:10]:
        say(f"leak: {leak.kind}: {leak.name}")
    for conflict in audit.conflicts[:10]:
        say(f"conflict: {conflict}")
    for kind, pairs in (("copy", audit.copies), ("possible copy", audit.possible_copies)):
        for pair in pairs[:5]:
            say(f"{kind}: {pair.name} ({pair.view}{'' if pair.score is None else f', {pair.score:.2f}'})")
    for probe in audit.shortcuts.trivial:
        if probe.auroc is not None:
            limits = "" if probe.low is None or probe.high is None else f" ({probe.low:.2f}-{probe.high:.2f})"
            say(f"to beat: {probe.title}: AUROC {probe.auroc:.2f}{limits}")
    for suspect in (audit.suspects.suspects if audit.suspects else ())[:5]:
        say(f"label to look at: {suspect.sample_id} ({suspect.label}; rather {suspect.suggested})")
    for sentence in audit.not_done:
        say(f"note: {sentence}")
