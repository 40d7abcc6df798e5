"""What a study found, gathered from its folder and written as tables; nothing is trained or scored here."""

import csv
import io
import json
from typing import Any

from chiron.audit.ledger import EnteredPlan
from chiron.core.files import write_text
from chiron.report.study_tables import latex_table, study_page, table_cells
from chiron.workflows.run_folder import RunFolder, library_versions
from chiron.workflows.study_compare import exploratory_differences, planned_comparison, untested_pairs, write_forest
from chiron.workflows.study_plan import Study, differing_keys
from chiron.workflows.study_scores import arm_row, baseline_folder, baseline_row, run_row, scored_arms, subgroup_rows


def write_study(study: Study, entered: EnteredPlan | None) -> dict[str, Any]:
    """Writes `study.json`, `study.md`, `table.csv`, `table.tex`, `runs.csv` and the forest plot, and returns the first.

    Args:
        entered: the plan as the ledger has it; None while the test split is not scored.
    """
    result = gather(study, entered)
    if result["comparison"] is not None:
        result["forest_text"] = write_forest(study, result["comparison"])
    write_text(study.out / "study.json", json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
    write_text(study.out / "runs.csv", _runs_csv(result))
    write_text(study.out / "study.md", study_page(result))
    if entered is not None:
        header, rows = table_cells(result)
        write_text(study.out / "table.csv", _csv([header, *rows]))
        write_text(study.out / "table.tex", latex_table(result))
    return result


def gather(study: Study, entered: EnteredPlan | None) -> dict[str, Any]:
    """Everything that the tables show."""
    plan, scored = study.plan, entered is not None
    comparison = planned_comparison(study) if scored else None
    arms = scored_arms(study)
    return {
        "study": study.study_id,
        "question": plan.question,
        "metric": plan.metric,
        "metrics": list(plan.metrics),
        "unit": plan.unit,
        "seeds": list(plan.seeds),
        "folds": plan.folds,
        "margin": plan.margin,
        "alpha": plan.alpha,
        "confidence": next(iter(study.recipes.values())).evaluate.confidence,
        "budget": plan.budget.model_dump(),
        "plan_hash": study.plan_hash,
        "is_check": study.is_check,
        "plan_entered": entered.time if entered else None,
        "exploratory_because": _exploratory(entered),
        "runs": [run_row(study, run) for run in study.runs],
        "arms": [arm_row(study, name) for name in plan.arms] if scored else [],
        "baselines": _baselines(study) if scored else [],
        "comparison": comparison,
        "untested": untested_pairs(study) if scored and comparison is None else [],
        "forest_text": None,
        "exploratory": exploratory_differences(study) if scored else [],
        "subgroups": [row for name in arms for row in subgroup_rows(study, name)] if scored else [],
        "differing_keys": differing_keys(study.recipes),
        "libraries": library_versions(),
    }


def _exploratory(entered: EnteredPlan | None) -> str | None:
    """Why no result of the study counts as planned, if it does not."""
    if entered is None or entered.looks_before == 0:
        return None
    if entered.looks_before is None:
        return "the chain of the test ledger is broken, so that nobody can tell what was scored before the plan"
    times = "once" if entered.looks_before == 1 else f"{entered.looks_before} times"
    return f"these test images were scored {times} before the plan was entered"


def _baselines(study: Study) -> list[dict[str, Any]]:
    there = [
        name
        for name in study.plan.baselines
        if all(RunFolder(baseline_folder(study, name, fold)).predictions("test").is_file() for fold in study.folds)
    ]
    return [baseline_row(study, name) for name in there]


def _runs_csv(result: dict[str, Any]) -> str:
    """A row a training, every metric with its limits."""
    facts = ("run", "arm", "seed", "fold", "status", "best_epoch", "why")
    limits = ("value", "low", "high")
    header = [
        *facts,
        *(f"{name}{'' if part == 'value' else '_' + part}" for name in result["metrics"] for part in limits),
    ]
    rows = [
        [
            *(run[key] for key in facts),
            *(run["results"].get(n, {}).get(part) for n in result["metrics"] for part in limits),
        ]
        for run in result["runs"]
    ]
    return _csv([header, *rows])


def _csv(rows: list[list[Any]]) -> str:
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    return table.getvalue()
