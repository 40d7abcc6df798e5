"""The tables of a study as Markdown and LaTeX, made from `study.json` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from chiron.report.comparison_table import HEADER, comparison_rows, difference_text, words_of
from chiron.report.format import count, number
from chiron.report.words import word
from chiron.spec.study import ADJUSTED

Study = Mapping[str, Any]
_LATEX = str.maketrans(
    {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "−": "$-$", "±": r"$\pm$", "†": r"$\dagger$",
     "×": r"$\times$", "–": "--"}
)  # fmt: skip
_BASELINE = {
    "majority": "always the commonest class",
    "metadata": "logistic regression, metadata",
    "histogram": "logistic regression, color histogram",
    "knn": "k nearest neighbors, frozen features",
    "linear_probe": "linear probe, frozen features",
}


def table_cells(study: Study) -> tuple[list[str], list[list[str]]]:
    """The header and a row an arm, then a row a baseline, as text.

    A cell of an arm is the mean over its trainings, its interval, and ± the standard deviation of single trainings.
    """
    header = ["model", "network", "first weights", "parameters", "MMACs", "budget", "trainings"]
    rows = [[*_arm_cells(arm), *_results(arm, study)] for arm in study["arms"]]
    rows += [[*_baseline_cells(row), *_results(row, study)] for row in study["baselines"]]
    return [*header, *(metric_title(name) for name in study["metrics"])], rows


def _arm_cells(arm: Mapping[str, Any]) -> list[str]:
    flag = " †" if arm["off_budget"] else ""
    weights = arm["init"] if arm["pretraining"] == "none" else f"{arm['init']} ({arm['pretraining']})"
    macs = arm["num_macs"]
    return [
        arm["arm"] + flag,
        f"{arm['model']}, {arm['img_size']} px",
        weights,
        "–" if arm["num_parameters"] is None else count(arm["num_parameters"]),
        "–" if macs is None else number(macs / 1e6, 0 if macs >= 1e7 else 1),
        f"{arm['epochs']} epochs, {arm['trials']} trials",
        str(arm["trainings"]) if arm["trainings"] == arm["planned"] else f"{arm['trainings']} of {arm['planned']}",
    ]


def _baseline_cells(row: Mapping[str, Any]) -> list[str]:
    network = row["of"] or "–"
    return [_BASELINE[row["name"]], network, "–", "–", "–", str(row["setting"]), "–"]


def _results(row: Mapping[str, Any], study: Study) -> list[str]:
    return [result_text(row["results"].get(name)) for name in study["metrics"]]


def result_text(result: Mapping[str, Any] | None) -> str:
    """A mean or an estimate with its interval; `*` where it is not sure, as the notes say.

    Example:
        >>> result_text({"value": 0.9, "low": 0.85, "high": 0.94, "seed_sd": 0.01, "note": None})
        '0.900 (0.850–0.940) ± 0.010'
    """
    if result is None or result["value"] is None:
        return "not defined"
    text = number(result["value"])
    if result["low"] is not None:
        text += f" ({number(result['low'])}–{number(result['high'])})"
    if result.get("seed_sd") is not None:
        text += f" ± {number(result['seed_sd'])}"
    return text + ("*" if result.get("note") else "")


def metric_title(name: str) -> str:
    """What a metric is called in a heading."""
    plain = name.removeprefix(ADJUSTED)
    title = word(plain).name.split(" (")[0]
    return f"{title}, logits adjusted" if plain != name else title


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text; what would end a cell is escaped."""
    lines = [list(header), ["---"] * len(header), *[[cell.replace("|", r"\|") for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def latex_table(study: Study) -> str:
    """The same table for a paper; needs the package booktabs."""
    header, rows = table_cells(study)
    lines = [" & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in (header, *rows)]
    arms = len(study["arms"])
    body = [lines[0], r"\midrule", *lines[1 : 1 + arms], *([r"\midrule"] if rows[arms:] else []), *lines[1 + arms :]]
    top = r"\begin{tabular}{lll" + "r" * 2 + "l" + "r" * (len(header) - 6) + "}"
    notes = [f"% {note}" for note in table_notes(study)]
    return "\n".join([*notes, top, r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def table_notes(study: Study) -> list[str]:
    """What has to stand under the table."""
    level = f"{100 * study['confidence']:g} %"
    folds = f" on {study['folds']} folds" if study["folds"] else ""
    notes = [
        f"Test split, scored once a training; mean of {len(study['seeds'])} seeds{folds} with {level} interval over "
        "cases and seeds; after ± the standard deviation of single trainings. Baselines are fitted "
        "once: interval over cases."
    ]
    if flagged := [f"{arm['arm']}: {arm['off_budget']}" for arm in study["arms"] if arm["off_budget"]]:
        notes.append(f"† another budget than the study's. {'; '.join(flagged)}.")
    if any(name.startswith(ADJUSTED) for name in study["metrics"]):
        notes.append(
            "Logits adjusted: the class is named after the log of the class shares is taken from the logits, as "
            "strongly as val's balanced accuracy asks for; plain accuracy falls by it."
        )
    return [*notes, *_marks((*study["arms"], *study["baselines"]))]


def _marks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why results are marked by `*`: each reason once, with metrics that it holds for in every row, or with rows."""
    of_note: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name, result in row["results"].items():
            if result is not None and result.get("note"):
                told = of_note.setdefault(result["note"], {}).setdefault(metric_title(name), [])
                told.append(row.get("arm") or _BASELINE[row["name"]])
    return [
        f"* {', '.join(_of_metric(title, names, len(rows)) for title, names in told.items())}: {note}."
        for note, told in of_note.items()
    ]


def _of_metric(title: str, names: Sequence[str], count: int) -> str:
    return title if len(names) == count else f"{title} of {', '.join(names)}"


def study_page(study: Study) -> str:
    """The whole study as Markdown: question, table, planned comparisons, and what is exploratory."""
    parts = [f"# {study['question']}\n", _plan_words(study)]
    failed = [f"- {run['run']}: {run['why']}" for run in study["runs"] if run["status"] == "failed"]
    if failed:
        parts.append("Trainings that could not finish:\n\n" + "\n".join(failed) + "\n")
    if study["plan_entered"] is None:
        if study["is_check"]:
            return "\n".join([*parts, "The trainings only check that all works; the test split is not scored.\n"])
        open_runs = sum(run["status"] not in ("finished", "failed") for run in study["runs"])
        parts.append(f"{open_runs} of {len(study['runs'])} trainings are not done; the test split is not scored.\n")
        return "\n".join(parts)
    parts += [
        "## Results\n",
        markdown_table(*table_cells(study)),
        "\n".join(f"- {n}" for n in table_notes(study)) + "\n",
    ]
    if study["comparison"] is not None:
        parts += [f"## Planned comparison: {metric_title(study['metric'])}\n", _comparison(study)]
    if study["untested"]:
        told = [f"- {row['second']} against {row['first']}: no verdict: {row['reason']}." for row in study["untested"]]
        parts += [f"## Planned comparison: {metric_title(study['metric'])}\n", "\n".join(told) + "\n"]
    parts.append(_exploratory(study))
    parts += ["## What differs between the models\n", _differences(study)]
    return "\n".join(parts)


def _plan_words(study: Study) -> str:
    budget = study["budget"]
    entered, folds = study["plan_entered"], f"; {study['folds']} folds" if study["folds"] else ""
    lines = [
        f"- Primary metric: {metric_title(study['metric'])} of the test split, unit: {study['unit']}.",
        f"- Budget of every model: {budget['epochs']} epochs, {budget['trials']} tuning trials; seeds "
        f"{', '.join(map(str, study['seeds']))}{folds}.",
        f"- Margin: {study['margin'] if study['margin'] is not None else 'none was declared'}; alpha {study['alpha']}.",
        f"- Plan {study['plan_hash'][:16]}, {'entered ' + entered if entered else 'not yet entered'} in the test ledger"
        f"{' before the first scoring' if entered else ''}.",
    ]
    if study["exploratory_because"]:
        lines.append(f"- **All results are exploratory**: {study['exploratory_because']}.")
    return "\n".join(lines) + "\n"


def _comparison(study: Study) -> str:
    numbers = study["comparison"]
    table = markdown_table(HEADER, comparison_rows(numbers))
    words = "\n".join(f"- {sentence}" for sentence in comparison_words(numbers))
    plot = f"\n![{study['forest_text']}](forest.svg)\n" if study["forest_text"] else ""
    return f"{table}\n{words}\n\nHow: {numbers['family']['how']}.\n{plot}"


def comparison_words(numbers: Mapping[str, Any] | None) -> list[str]:
    """What may be said of the planned comparison; "not better" where no test says so."""
    if numbers is None:
        return []
    not_better = [
        f"{row['second']} is not shown to be better than {row['first']}"
        for row in numbers["comparisons"]
        if row["verdict"] != "better"
    ]
    return [*words_of(numbers), *not_better]


def _exploratory(study: Study) -> str:
    lines = [
        f"- {row['second']} less {row['first']}, {row['metric']}: {difference_text(row)}. No verdict."
        for row in study["exploratory"]
    ]
    lines += [
        f"- {row['arm']}, {row['column']} = {row['value']} ({count(row['cases'])} {study['unit']}s): "
        f"{result_text(row['result']) if row['result'] else row['note']}."
        for row in study["subgroups"]
    ]
    if not lines:
        return ""
    title = "## Subgroups of the plan, and what is exploratory\n" if study["subgroups"] else "## Exploratory\n"
    told = "Differences that the plan does not name are exploratory: they may suggest a study, and show nothing.\n"
    return "\n".join([title, told, *lines]) + "\n"


def _differences(study: Study) -> str:
    names = [arm["arm"] for arm in study["arms"]]
    rows = [[f"`{key}`", *(str(values[name]) for name in names)] for key, values in study["differing_keys"].items()]
    return markdown_table(["key", *names], rows) if rows else "Nothing but the name.\n"
