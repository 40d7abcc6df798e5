"""Maps of many images with their scores, written as they are made: what `chiron explain` and a run's report share.

Two passes, so that memory does not grow with the images: the first makes maps and scores, the second, which knows the
verdict on all of them, draws the pictures from what the first has stored.
"""

import io
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiron.classifier import Classifier
from chiron.core.errors import DataError, ExplainError, PreprocessError
from chiron.core.files import write_bytes
from chiron.data.dataset import to_tensor
from chiron.explanation.checked import standing_in_bundle
from chiron.explanation.explain import NOTICE, heat_of, shown_of, subjects_of
from chiron.explanation.scored import ScoredExplainer, ScoredMap
from chiron.explanation.scores.table import SCORES
from chiron.explanation.scores.verdict import Verdict, verdict
from chiron.predictor import Input
from chiron.report.explanations import Explained, caption_lines, caption_title
from chiron.report.gallery import thumbnail
from chiron.report.plots.saliency import overlay, saliency_png

log = logging.getLogger("chiron.explain")

FORMAT = 1
Findings = Callable[[Input], Bool[np.ndarray, "h w"]]  # where the findings of an image are


@dataclass(frozen=True)
class Case:
    """One image to be explained.

    `name` and `file` are what outputs call it; `counted` says whether the verdict rests on it, `shown` whether a page
    will hold its pictures.
    """

    input: Input
    name: str
    file: str
    unit: str
    counted: bool = True
    shown: bool = True


def explain_set(
    folder: Path,
    explainer: ScoredExplainer,
    cases: Sequence[Case],
    *,
    findings: Findings | None = None,
    batch_size: int = 16,
) -> Explained:
    """Writes a map (.npy) and a picture (.png) an image into `folder`; a bad image gets a row that says why.

    Raises:
        DataError: no image can be used.
        ExplainError: the explainer cannot explain the network, or every map is blank.
    """
    rows: list[dict[str, Any]] = []
    pictures: dict[str, dict[str, str]] = {}
    for first in range(0, len(cases), batch_size):
        for case, made in _explained(cases[first : first + batch_size], explainer, findings):
            rows.append(_row(case, made))
            if isinstance(made, str):
                log.warning("%s: %s", case.name, made)
                continue
            write_bytes(folder / f"{case.file}.npy", _npy(made.map))
            if made.beside is not None:
                pictures[case.name] = _small(made)
        log.info("%d of %d images explained", len(rows), len(cases))
    scored = [(case, row) for case, row in zip(cases, rows, strict=True) if "scores" in row]
    if not scored:
        kind = ExplainError if any(row.get("blank") for row in rows) else DataError
        raise kind(rows[0]["problem"] + (f" ({len(rows)} images, none has a map.)" if len(rows) > 1 else ""))
    facts = _facts(explainer, _verdict([it for it in scored if it[0].counted]), rows)
    for case, row in scored:
        write_bytes(folder / f"{case.file}.png", _picture(case, row, facts, explainer.classifier, folder))
    return Explained(facts, pictures)


def _explained(
    cases: Sequence[Case], explainer: ScoredExplainer, findings: Findings | None
) -> Iterator[tuple[Case, ScoredMap | str]]:
    """Each case with its map, or with the sentence why it has none."""
    problems: list[str] = []
    usable: list[Case] = []
    pixels: list[Tensor] = []
    masks: list[Bool[np.ndarray, "h w"]] = []
    for case in cases:
        try:
            stored = to_tensor(case.input.source.stored(case.input.path, explainer.classifier.input_spec))
            masks += [findings(case.input)] if findings else []
        except (PreprocessError, DataError) as error:
            problems.append(str(error))
            continue
        problems.append("")
        pixels.append(stored)
        usable.append(case)
    made: Iterator[ScoredMap] = iter(())
    if pixels:
        known = torch.from_numpy(np.stack(masks)) if findings else None
        beside = [place for place, case in enumerate(usable) if case.shown]
        made = iter(explainer.batch(torch.stack(pixels), masks=known, beside=beside))
    for case, problem in zip(cases, problems, strict=True):
        yield case, problem or next(made)


def _row(case: Case, made: ScoredMap | str) -> dict[str, Any]:
    if isinstance(made, str):
        return {"image": case.name, "problem": made if case.name == case.input.name else "cannot be used"}
    row: dict[str, Any] = {"image": case.name, "class": made.class_name, "probability": made.probability}
    if made.blank:
        return row | {"blank": True, "problem": f"A map must differ from place to place. Got {made.blank}."}
    row |= {"map": f"{case.file}.npy", "picture": f"{case.file}.png", "counted": case.counted}
    row["scores"] = _plain(made.scores)
    if made.of_controls:
        row["controls"] = {control: _plain(scores) for control, scores in made.of_controls.items()}
    if made.beside is not None:
        row["wrong_class"] = made.beside.wrong_class
    return row


def _verdict(scored: Sequence[tuple[Case, dict[str, Any]]]) -> Verdict:
    """Of the scores of these images, each with its unit."""
    first = scored[0][1]
    values = {name: _column(row["scores"][name] for _, row in scored) for name in first["scores"]}
    of_controls = {
        control: {name: _column(row["controls"][control][name] for _, row in scored) for name in names}
        for control, names in first.get("controls", {}).items()
    }
    units = [case.unit for case, _ in scored]
    return verdict(values, units if len(set(units)) < len(units) else None, of_controls=of_controls)


def _told(explainer: ScoredExplainer, found: Verdict, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The verdict by these images, or where they are too few that of the bundle's own checks."""
    told = {
        "label": found.label,
        "words": f"{found.label} for this model on these images",
        "reasons": list(found.reasons),
        "from_bundle": False,
        "has_enough": found.has_enough,
        "num_images": found.estimates["stability"].num_images,
        "num_units": found.num_units,
    }
    if found.has_enough:
        return told
    classes = {row["class"] for row in rows if "class" in row}
    asked = classes.pop() if len(classes) == 1 else explainer.class_name
    kept = standing_in_bundle(explainer.classifier.explainers, explainer.method, class_name=asked)
    if not kept.is_checked:
        return told | {"words": "experimental", "reasons": [found.reasons[0], *kept.reasons]}
    return told | {"label": kept.label, "words": kept.words, "reasons": list(kept.reasons), "from_bundle": True}


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in scores.items()}


def _column(values: Iterable[float | None]) -> Float[Tensor, "n"]:
    return torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float64)


def _facts(explainer: ScoredExplainer, found: Verdict, rows: list[dict[str, Any]]) -> dict[str, Any]:
    classifier = explainer.classifier
    return {
        "format": FORMAT,
        "notice": NOTICE,
        "bundle_id": classifier.bundle_id,
        "model": classifier.network_spec.name,
        "calibrated": classifier.decision.calibration.method != "none",
        "method": explainer.method,
        "title": explainer.title,
        "class_specific": explainer.is_class_specific,
        "seed": explainer.seed,
        "class_asked": explainer.class_name,
        "verdict": _told(explainer, found, rows),
        "scores": {
            name: {"title": SCORES[name].title, "better": SCORES[name].better, "meaning": SCORES[name].meaning}
            | asdict(estimate)
            for name, estimate in found.estimates.items()
        },
        "above_controls": {
            control: {name: asdict(estimate) for name, estimate in own.items()}
            for control, own in found.above_controls.items()
        },
        "images": rows,
    }


def _npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def _small(made: ScoredMap) -> dict[str, str]:
    """Small pictures as data URIs; empty where the map is blank."""
    assert made.beside is not None
    heats = {"map": made.heat, "wrong": made.beside.wrong, "untrained": made.beside.untrained}
    drawn = {name: "" if heat is None else thumbnail(overlay(made.shown, heat)) for name, heat in heats.items()}
    return {"image": thumbnail(made.shown), **drawn}


def _picture(case: Case, row: dict[str, Any], facts: dict[str, Any], classifier: Classifier, folder: Path) -> bytes:
    """The PNG of one image, from its stored map and its pixels, read again."""
    stored = to_tensor(case.input.source.stored(case.input.path, classifier.input_spec))[None]
    subject = subjects_of(classifier, stored, torch.zeros(1, dtype=torch.long))[0]
    maps = torch.from_numpy(np.load(folder / f"{case.file}.npy", allow_pickle=False))[None]
    heat = heat_of(maps, subject.image.shape[-2:])[0].numpy()
    shown = shown_of(classifier, subject)[0]
    return saliency_png(shown, heat, title=caption_title(row), lines=caption_lines(row, facts))
