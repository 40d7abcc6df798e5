"""Maps of some right and some wrong images of a run, stored in it, so that its report can show them."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from chiron.classifier import load
from chiron.core.errors import SpecError
from chiron.core.files import new_folder, write_text
from chiron.core.hashing import seed_of
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.data.source import ImageSource
from chiron.data.unchanged import require_unchanged
from chiron.data.units import unit_names
from chiron.engine.runtime import start_runtime
from chiron.explanation.scored import ScoredExplainer
from chiron.predictor import Input
from chiron.workflows.explained_set import Case, explain_set
from chiron.workflows.explainer_checks import keep_check
from chiron.workflows.run_folder import RunFolder

NUM_COUNTED = 40  # images that the verdict rests on: twice what its intervals need
NUM_SHOWN = 2  # right and wrong images, of each class

RULE = (
    f"Shown are up to {NUM_SHOWN} right and {NUM_SHOWN} wrong images of each reference class, drawn at random by their "
    f"names. The verdict and the means rest on {{num}} images of the split, drawn at random without regard to "
    "class and answer. Nothing was chosen by its look."
)


def explain_run(
    run: RunFolder, split: str, *, method: str | None, device: str = "auto", threads: int | None = None
) -> None:
    """Makes and stores the maps of a scored split; the class explained is the model output.

    The verdict on the explainer is kept with the run's bundle.

    Args:
        method: an explainer, or `auto`; None makes no maps.
    Raises:
        SpecError: images of this run can have several classes.
        DataError: images are gone or have changed.
        ExplainError: the explainer cannot explain the network, or all maps are blank.
    """
    if method is None:
        return
    predictions, manifest = Predictions.load(run.predictions(split)), Manifest.load(run.path)
    if predictions.is_multi_label:
        raise SpecError(
            "Right and wrong images are shown where an image has one class. Got a run with several classes an image. "
            f"Leave out --explain, and use `chiron explain {run.path} IMAGES --class NAME`."
        )
    names = predictions.scored["sample_id"].cast(str).to_list()
    is_right = predictions.y_prob.argmax(axis=1) == predictions.y_true
    counted = _drawn(names, range(len(names)), "evidence", NUM_COUNTED)
    shown = [
        row
        for k in range(len(predictions.classes))
        for right in (True, False)
        for row in _drawn(names, np.flatnonzero((predictions.y_true == k) & (is_right == right)), "shown", NUM_SHOWN)
    ]
    chosen = sorted({*counted, *shown})
    part = replace(manifest, frame=manifest.frame.filter(pl.col("sample_id").is_in([names[row] for row in chosen])))
    require_unchanged(part)
    path_of = dict(part.frame.select("sample_id", "path").iter_rows())
    units = unit_names(names, predictions.groups or [None] * len(names))[0]
    source = ImageSource(manifest.root)
    cases = [
        Case(
            Input(names[row], source, path_of[names[row]]),
            names[row],
            f"maps/{place:02}",
            units[row],
            counted=row in counted,
            shown=row in shown,
        )
        for place, row in enumerate(chosen, start=1)
    ]
    runtime = start_runtime(device=device, threads=threads)
    classifier = load(run.bundle, device=str(runtime.device))
    explainer = ScoredExplainer(classifier, method=method)
    with new_folder(run.explanations(split)) as folder:
        done = explain_set(folder, explainer, cases)
        for row, told in zip(chosen, done.facts["images"], strict=True):
            told |= {"reference": predictions.classes[predictions.y_true[row]], "right": bool(is_right[row])}
        facts = {**done.facts, "split": split, "rule": RULE.format(num=len(counted))}
        write_text(folder / "pictures.json", json.dumps(done.pictures, ensure_ascii=False))
        write_text(
            folder / "explanations.json", json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
        )  # last: it says that all is there
    keep_check(run.bundle, classifier, facts, source=split)


def _drawn(names: Sequence[str], rows: Sequence[int] | np.ndarray, purpose: str, count: int) -> list[int]:
    """Some of the rows, by a seed of their names, so that neither order nor other rows matter."""
    ranked = sorted((int(row) for row in rows), key=lambda row: (seed_of(purpose, names[row]), names[row]))
    return ranked[:count]
