"""A study's comparisons: those of the plan as one family with verdicts, all others as differences without any."""

import glob
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from chiron.core.files import write_bytes
from chiron.metrics.by_name import statistic_of
from chiron.report.figures import png_of, svg_of
from chiron.report.plots import forest
from chiron.report.plots.style import figure_style
from chiron.workflows.compare import Settings, compare
from chiron.workflows.study_plan import Study
from chiron.workflows.study_scores import cases_for, is_scored


def planned_comparison(study: Study) -> dict[str, Any] | None:
    """The comparison of the plan, over seeds or folds, as `chiron compare` gives it; None without any to make."""
    scored = _scored_arms(study)
    pairs = [pair for pair in study.plan.comparisons if set(pair) <= set(scored)]
    if not pairs:
        return None
    reference = pairs[0][1]
    return _compared(study, [*dict.fromkeys(first for first, _ in pairs)], reference, margin=study.plan.margin)


def exploratory_differences(study: Study) -> list[dict[str, Any]]:
    """Pairs of arms that the plan does not name: difference and interval of each alone, without test and verdict."""
    planned = {frozenset(pair) for pair in study.plan.comparisons}
    rows = []
    for reference, other in combinations(_scored_arms(study), 2):
        if frozenset((reference, other)) not in planned:
            found = _compared(study, [other], reference, margin=None)["comparisons"][0]
            rows.append({key: found[key] for key in _TOLD})
    return rows


_TOLD = ("metric", "first", "second", "difference", "low", "high", "simultaneous", "method", "note")


def _compared(study: Study, others: Sequence[str], reference: str, *, margin: float | None) -> dict[str, Any]:
    runs = [run for run in study.runs if run.arm in (reference, *others) and is_scored(run)]
    cases, _ = cases_for(study.plan.metric, runs[0].folder)
    name, of_class = statistic_of(study.plan.metric, cases)[1]
    settings = Settings(
        metrics=(study.plan.metric if of_class is not None else name,),
        reference=reference,
        margin=margin,
        num_resamples=study.recipes[reference].evaluate.num_resamples,
        confidence=1 - study.plan.alpha,
    )
    targets = [f"{run.arm}={glob.escape(str(run.folder))}" for run in runs]
    found = compare(targets, methods=True, settings=settings, split="test")
    for model in found["models"]:  # a table that is shared says nothing of where it was made
        model["source"] = [run.folder.name for run in runs if run.arm == model["name"]]
    return found


def _scored_arms(study: Study) -> list[str]:
    return [name for name in study.plan.arms if any(run.arm == name and is_scored(run) for run in study.runs)]


def write_forest(study: Study, comparison: dict[str, Any]) -> str | None:
    """Writes the forest plot and returns its text alternative; None where nothing can be drawn."""
    with figure_style([model["name"] for model in comparison["models"]]):
        drawing = forest.draw(comparison)
        if drawing is None:
            return None
        write_bytes(study.out / "forest.svg", svg_of(drawing).encode())
        write_bytes(study.out / "forest.png", png_of(drawing))
    return f"{drawing.caption} {drawing.alt}"
