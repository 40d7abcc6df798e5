"""`chiron data audit`: what can be known of a data set before a training, with a page of pictures to look at."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from chiron.audit.findings import Audit, audit_manifest
from chiron.audit.ledger import project_folder
from chiron.audit.sharing_key import sharing_key
from chiron.core.errors import SpecError
from chiron.core.files import require_new, require_outside, write_text
from chiron.data.private import Privacy
from chiron.data.reading import read_dataset
from chiron.report.audit_page import render_audit
from chiron.spec.layout import Layout
from chiron.workflows.privacy import as_kept

log = logging.getLogger("chiron.data")
_RECOGNIZED = Layout()
PAGE, NUMBERS, RECIPE = "audit.html", "audit.json", "recipe.yaml"


def audit_data(
    data: Path,
    layout: Layout = _RECOGNIZED,
    *,
    predictions: Sequence[Path] = (),
    privacy: Privacy = "auto",
    out: Path | None = None,
) -> Audit:
    """Reads a data set, a manifest or the data of a run, and looks at every image; nothing is written.

    Args:
        predictions: tables of networks that did not see the images they predict, one a fold.
        privacy: whether what is written may hold names, see `chiron.data.private`.
        out: where it is going to be written; without it names are only printed.
    Raises:
        DataError: the data cannot be read, or tables of predictions do not belong to it.
        SpecError: `layout` asks to leave out the images.
    """
    if layout.table_only:
        raise SpecError("An audit looks at the images. Got --table-only. Use `chiron data inspect` for tables alone.")
    if out is not None:
        layout = replace(layout, id_key=partial(sharing_key, project_folder(out)))
    manifest = read_dataset(data, layout, conflicts="note")
    kept = manifest if out is None else as_kept(manifest, privacy, out)
    log.info("looking at %s images", f"{manifest.frame.height:,}")
    return audit_manifest(kept, predictions=predictions, named=None if kept is manifest else manifest)


def require_audit_folder(out: Path, data: Path, *, force: bool) -> None:
    """Refuses an output before a large data set is read.

    Raises:
        SpecError: something stands at `out`, or it lies inside the data.
    """
    require_new(out, force=force)
    require_outside(out, data)


def write_audit(audit: Audit, out: Path, *, page: bool) -> list[Path]:
    """Writes what was found to the folder `out`, and returns the files.

    They are `audit.json`, the proposed `recipe.yaml`, and the manifest with its column `quality` and `duplicates.csv`,
    into which a person writes verdicts; with `page` also `audit.html`, which holds pictures.

    Raises:
        OutputError: the folder cannot be written.
    """
    audit.manifest.save(out)
    written = [out / name for name in ("manifest.csv", "duplicates.csv", NUMBERS, RECIPE)]
    write_text(out / NUMBERS, json.dumps(audit.to_json(), indent=2, ensure_ascii=False))
    write_text(out / RECIPE, audit.proposed.yaml)
    if page:
        write_text(out / PAGE, render_audit(audit))
        written.append(out / PAGE)
    return written
