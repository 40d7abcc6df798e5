"""Which explainers find planted findings in a network, against maps that know nothing of it."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiron.core.errors import ExplainError
from chiron.core.registry import load_leaf
from chiron.explanation.explain import EXPLAINERS
from chiron.explanation.scores.above_controls import AboveControls, above_controls, control_scores, not_above
from chiron.explanation.scores.evidence import mean_score, paired_difference
from chiron.explanation.scores.localization import LOCALIZATION, pointing
from chiron.explanation.scores.randomization import randomization_correlation
from chiron.explanation.scores.table import score_maps
from chiron.explanation.scores.verdict import verdict
from chiron.explanation.subject import Subject
from chiron.metrics.estimate import Estimate

__all__ = ["SIZES", "Found", "bench_explainer", "where_it_points"]

log = logging.getLogger("chiron.bench")
SIZES = ("small", "middle", "large")  # thirds of the images by the area of their findings
Explain = Callable[[Subject], Tensor]


@dataclass(frozen=True)
class Found:
    """What one explainer showed of one network; every number is over images, its interval by patients."""

    estimates: dict[str, Estimate]  # by the keys of SCORES
    by_size: dict[str, Estimate]  # pointing game in each third of `SIZES`
    differences: AboveControls
    recommended: bool
    reasons: tuple[str, ...]
    seconds_per_image: float


def bench_explainer(
    method: str,
    subject: Subject,
    masks: Bool[Tensor, "n h w"],
    patient_ids: Sequence[str],
    *,
    num_scored: int,
    seed: int = 0,
    batch_size: int = 16,
) -> Found:
    """One explainer on images of known findings: where its maps point, and the scores that no mask is needed for.

    It is recommended where `verdict` does so and where it hits more findings than each control.

    Args:
        num_scored: of so many patients the first image gets the scores that cost many passes: all but localization.
    Raises:
        ExplainError: the explainer does not fit the network, or gives no maps for it.
    """
    leaf = load_leaf(EXPLAINERS, method, kind="explainer")
    if (reason := leaf.why_not(subject)) is not None:
        raise ExplainError(f"{method} must fit the network. Got {type(subject.network).__name__}: {reason}")
    explain: Explain = lambda asked: leaf.explain(asked, seed=seed)  # noqa: E731
    start = time.perf_counter()
    maps = _in_batches(subject, explain, batch_size)
    seconds = (time.perf_counter() - start) / len(subject)
    places = {name: score(maps, masks).cpu() for name, score in LOCALIZATION.items()}
    some = torch.tensor(sorted(np.unique(patient_ids, return_index=True)[1])[:num_scored])
    costly = _costly_scores(subject, maps, explain, some, batch_size, seed)
    judged = verdict(costly, [patient_ids[place] for place in some.tolist()])
    differences = above_controls(places, control_scores(subject, masks, seed=seed), patient_ids)
    reasons = judged.reasons + not_above(differences)
    return Found(
        estimates={name: mean_score(name, values, patient_ids) for name, values in places.items()} | judged.estimates,
        by_size=_by_size(places["pointing"], masks, patient_ids),
        differences=differences,
        recommended=not reasons,
        reasons=reasons,
        seconds_per_image=seconds,
    )


def where_it_points(
    maps: Float[Tensor, "n _gh _gw"],
    findings: Bool[Tensor, "n h w"],
    marks: Bool[Tensor, "n h w"],
    patient_ids: Sequence[str],
) -> dict[str, Any]:
    """Whether maps point at findings or at a mark that has nothing to do with them, and the sentence that says so.

    Returns:
        `finding` and `mark`: shares of images whose map points there; `mark_minus_finding`: the paired difference;
        `points_at`: `mark` or `finding` where that difference's interval leaves 0 out, else `undecided`; `words`.
    """
    at_finding, at_mark = pointing(maps, findings).cpu(), pointing(maps, marks).cpu()
    difference = paired_difference("pointing", at_finding, at_mark, patient_ids)
    at = "undecided"
    if difference.low is not None and difference.high is not None:
        at = "mark" if difference.low > 0 else "finding" if difference.high < 0 else "undecided"
    shares = {
        "finding": mean_score("pointing", at_finding, patient_ids),
        "mark": mean_score("pointing", at_mark, patient_ids),
    }
    told = f"{shares['mark'].value:.0%} of the maps point at the mark, {shares['finding'].value:.0%} at a finding"
    words = {
        "mark": f"Shortcut: {told}. The network goes by the mark, which has nothing to do with the finding.",
        "finding": f"No shortcut seen: {told}.",
        "undecided": f"Undecided: {told}, and the interval of their difference holds 0.",
    }[at]
    return shares | {"mark_minus_finding": difference, "points_at": at, "words": words}


def _in_batches(subject: Subject, explain: Explain, batch_size: int) -> Float[Tensor, "n _gh _gw"]:
    places = torch.arange(len(subject), device=subject.image.device)
    return torch.cat([explain(subject.rows(part)).detach() for part in places.split(batch_size)])


def _costly_scores(
    subject: Subject, maps: Tensor, explain: Explain, some: Tensor, batch_size: int, seed: int
) -> dict[str, Float[Tensor, "n"]]:
    parts = []
    for places in some.split(batch_size):
        asked = subject.rows(places.to(subject.image.device))
        scores = score_maps(asked, maps[places.to(maps.device)], explain, seed=seed)
        scores["randomization"] = randomization_correlation(asked, explain, seed=seed).cpu()
        parts.append(scores)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _by_size(hits: Tensor, masks: Bool[Tensor, "n h w"], patient_ids: Sequence[str]) -> dict[str, Estimate]:
    """Hit rates in thirds of the images, by the area of the findings."""
    order = masks.flatten(1).sum(dim=1).cpu().argsort(stable=True)
    return {
        size: mean_score("pointing", hits[part], [patient_ids[place] for place in part.tolist()])
        for size, part in zip(SIZES, np.array_split(order.numpy(), len(SIZES)), strict=True)
        if len(part)
    }
