"""A study's comparisons: those of the plan as one family with verdicts, all others as differences without any."""

import glob
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from chiron.core.files import write_bytes
from chiron.metrics.by_name import statistic_of
from chiron.report.figures import png_of, svg_of
from chiron.report.plots import forest
from chiron.report.plots.style import figure_style
from chiron.workflows.compare import Settings, compare
from chiron.workflows.study_plan import Study
from chiron.workflows.study_scores import cases_for, scored_runs


def planned_comparison(study: Study) -> dict[str, Any] | None:
    """The comparison of the plan, over seeds or folds, as `chiron compare` gives it; None without any to make.

    The family is that of the plan: an arm without the trainings that a test needs is told with the reason and counts.
    """
    others = [first for first, _ in study.plan.comparisons]
    untested = {first: reason for first, _, reason in _untested(study)}
    tested = [name for name in others if name not in untested]
    if not tested:
        return None
    return _compared(study, tested, study.plan.comparisons[0][1], margin=study.plan.margin, untested=untested)


def untested_pairs(study: Study) -> list[dict[str, str]]:
    """The planned comparisons that have no numbers, each with the reason."""
    return [{"first": second, "second": first, "reason": reason} for first, second, reason in _untested(study)]


def _untested(study: Study) -> list[tuple[str, str, str]]:
    lacking = _lacking(study)
    return [
        (first, second, "; ".join(lacking[name] for name in (second, first) if name in lacking))
        for first, second in study.plan.comparisons
        if {first, second} & set(lacking)
    ]


def _lacking(study: Study) -> dict[str, str]:
    """Why an arm has no numbers to compare: of every fold a training must have been scored."""
    scored = {(run.arm, run.fold) for run in scored_runs(study)}
    found = {}
    for name in study.plan.arms:
        folds = [fold for fold in study.folds if (name, fold) not in scored]
        if folds:
            of_folds = f" of fold {', '.join(map(str, folds))}" if len(study.folds) > 1 else ""
            found[name] = f"no training of {name}{of_folds} has been scored"
    return found


def exploratory_differences(study: Study) -> list[dict[str, Any]]:
    """Pairs of arms that the plan does not name: difference and interval of each alone, without test and verdict."""
    planned, lacking = {frozenset(pair) for pair in study.plan.comparisons}, _lacking(study)
    rows = []
    for reference, other in combinations([name for name in study.plan.arms if name not in lacking], 2):
        if frozenset((reference, other)) not in planned:
            found = _compared(study, [other], reference, margin=None)["comparisons"][0]
            rows.append({key: found[key] for key in _TOLD})
    return rows


_TOLD = ("metric", "first", "second", "scale", "difference", "low", "high", "simultaneous", "method", "note")


def _compared(
    study: Study,
    others: Sequence[str],
    reference: str,
    *,
    margin: float | None,
    untested: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    runs = [run for run in scored_runs(study) if run.arm in (reference, *others)]
    cases, _ = cases_for(study.plan.metric, runs[0].folder)
    name, of_class = statistic_of(study.plan.metric, cases)[1]
    settings = Settings(
        metrics=(study.plan.metric if of_class is not None else name,),
        reference=reference,
        margin=margin,
        untested=untested or {},
        num_resamples=study.recipes[reference].evaluate.num_resamples,
        confidence=1 - study.plan.alpha,
    )
    targets = [f"{run.arm}={glob.escape(str(run.folder))}" for run in runs]
    found = compare(targets, methods=True, settings=settings, split="test")
    for model in found["models"]:  # a table that is shared says nothing of where it was made
        model["source"] = [run.folder.name for run in runs if run.arm == model["name"]]
    return found


def write_forest(study: Study, comparison: dict[str, Any]) -> str | None:
    """Writes the forest plot and returns its text alternative; None where nothing can be drawn."""
    with figure_style([model["name"] for model in comparison["models"]]):
        drawing = forest.draw(comparison)
        if drawing is None:
            return None
        write_bytes(study.out / "forest.svg", svg_of(drawing).encode())
        write_bytes(study.out / "forest.png", png_of(drawing))
    return f"{drawing.caption} {drawing.alt}"
