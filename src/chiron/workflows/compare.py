"""`chiron compare`: two or more models on the same cases, or training methods over seeds or folds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chiron.core.errors import SpecError
from chiron.core.files import require_new, write_bytes, write_text
from chiron.core.job import require_alone
from chiron.metrics.comparison.compared_number import CLASS_MARK
from chiron.metrics.comparison.folds import Fold, FoldComparison, compare_folds
from chiron.metrics.comparison.methods import MethodComparison, compare_methods
from chiron.metrics.comparison.models import ModelComparison, compare_models
from chiron.report.comparison_table import comparison_markdown
from chiron.report.figures import png_of, svg_of
from chiron.report.plots import forest
from chiron.report.plots.style import figure_style
from chiron.spec.decision import Unit
from chiron.workflows.compared_tables import (
    CommonCases,
    Source,
    common_cases,
    find_methods,
    find_sources,
    fold_sources,
    num_trained_on,
)

FORMAT = 1
QUESTIONS = {
    "models": "these models on these cases, trainings fixed",
    "seeds": "these training methods, over seeds and cases",
    "folds": "these training methods, over folds",
}
FAMILY = {
    "models": "p-values adjusted by Holm, simultaneous intervals by max-t bootstrap",
    "seeds": "p-values adjusted by Holm, simultaneous intervals by max-t of cases and seeds",
    "folds": "p-values adjusted by Holm, simultaneous intervals by Bonferroni",
}


@dataclass(frozen=True)
class Settings:
    """What is asked, and how."""

    metrics: tuple[str, ...] = ()
    reference: str | None = None
    margin: float | None = None
    exact: bool = False
    unit: Unit | None = None  # what a case is; by default what the models' own decisions say
    untested: Mapping[str, str] = field(default_factory=dict)  # methods of a plan without numbers to test, and why
    num_resamples: int = 2000
    confidence: float = 0.95


_DEFAULT = Settings()


def compare(
    targets: Sequence[str],
    *,
    methods: bool = False,
    settings: Settings = _DEFAULT,
    split: str | None = None,
    positive: str | None = None,
    common: bool = False,
    out: str | Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Compares stored predictions; nothing is scored, and the test ledger stays as it is.

    Args:
        targets: run folders, folders of `chiron evaluate` or predictions CSVs, also as NAME=PATH; with `methods`
            NAME=PATTERN, the runs of one training method each.
        methods: ask about training methods; runs of a method are seeds, or folds where they share no case.
        split: of run folders; by default the first of test, external, val, cal that all have scored.
        common: compare the cases that all tables hold where tables hold different ones.
        out: folder for comparison.json, comparison.md and the forest plot.
    Returns:
        The comparison as plain JSON values.
    Raises:
        SpecError: targets or options do not fit.
        DataError: tables do not hold the same cases, labels or classes.
        MetricError: a number cannot be compared.
    """
    require_alone("compare")
    if out is not None:
        require_new(Path(out), force=force)
    if methods and settings.exact:
        raise SpecError("--exact is McNemar's test of two models. Got --methods as well. Leave one out.")
    made = (_of_methods if methods else _of_models)(targets, settings, split, positive, common)
    if out is not None:
        write_comparison(Path(out), made)
    return made


def write_comparison(folder: Path, numbers: Mapping[str, Any]) -> None:
    """Writes numbers, table, words and the forest plot."""
    write_text(folder / "comparison.json", json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False))
    write_text(folder / "comparison.md", comparison_markdown(numbers))
    with figure_style([model["name"] for model in numbers["models"]]):
        drawing = forest.draw(numbers)
    if drawing is not None:
        write_bytes(folder / "forest.svg", svg_of(drawing).encode())
        write_bytes(folder / "forest.png", png_of(drawing))


def _of_models(
    targets: Sequence[str], settings: Settings, split: str | None, positive: str | None, common: bool
) -> dict[str, Any]:
    sources, chosen = find_sources(targets, split)
    cases = common_cases(sources, positive=positive, common=common, unit=settings.unit)
    asked = _one_label(cases, settings)
    compared = compare_models(
        asked.y_true,
        asked.y_prob,
        groups=asked.groups,
        exact=settings.exact,
        num_resamples=settings.num_resamples,
        **asked.options(settings),
    )
    models = [{"name": source.name, "source": str(source.path)} for source in sources]
    return _numbers("models", models, compared, [cases], settings, chosen)


def _of_methods(
    targets: Sequence[str], settings: Settings, split: str | None, positive: str | None, common: bool
) -> dict[str, Any]:
    methods, chosen = find_methods(targets, split)
    folds = fold_sources(methods) or [methods]
    loaded = [
        common_cases(
            [source for sources in fold.values() for source in sources],
            positive=positive,
            common=common,
            unit=settings.unit,
        )
        for fold in folds
    ]
    asked = [_one_label(cases, settings) for cases in loaded]
    options = asked[0].options(settings) | {"untested": settings.untested}
    by_method = [
        {name: [of_fold.y_prob[source.name] for source in sources] for name, sources in fold.items()}
        for fold, of_fold in zip(folds, asked, strict=True)
    ]
    models = [{"name": name, "source": [str(one.path) for one in sources]} for name, sources in methods.items()]
    if len(folds) > 1:
        parts = [
            Fold(one.y_true, y_prob, one.groups, _test_share(cases, fold))
            for one, y_prob, cases, fold in zip(asked, by_method, loaded, folds, strict=True)
        ]
        return _numbers("folds", models, compare_folds(parts, **options), loaded, settings, chosen)
    compared = compare_methods(
        asked[0].y_true,
        by_method[0],
        groups=asked[0].groups,
        num_resamples=settings.num_resamples,
        **options,
    )
    return _numbers("seeds", models, compared, loaded, settings, chosen)


def _test_share(cases: CommonCases, fold: Mapping[str, Sequence[Source]]) -> float | None:
    """Cases of the fold over those that its networks learned from, at most; None where a table does not tell."""
    learned = [num_trained_on(source, cases.unit) for sources in fold.values() for source in sources]
    known = [count for count in learned if count]
    return len(cases.ids) / min(known) if len(known) == len(learned) else None


@dataclass(frozen=True)
class _OneLabel:
    """Cases as the statistics take them: one label a case."""

    y_true: np.ndarray
    y_prob: Mapping[str, np.ndarray]
    groups: Sequence[str] | None
    classes: tuple[str, ...]
    positive: str | None
    metrics: tuple[str, ...]

    def options(self, settings: Settings) -> dict[str, Any]:
        """Arguments that every kind of comparison takes."""
        return {
            "classes": self.classes,
            "positive": self.positive,
            "metrics": self.metrics,
            "reference": settings.reference,
            "margin": settings.margin,
            "confidence": settings.confidence,
        }


def _one_label(cases: CommonCases, settings: Settings) -> _OneLabel:
    metrics = settings.metrics or (("auroc",) if len(cases.classes) == 2 else ("macro_auroc",))
    if cases.is_multi_label:
        return _of_one_class(cases, settings.metrics)
    return _OneLabel(cases.y_true, cases.y_prob, cases.groups, cases.classes, cases.positive, metrics)


def _of_one_class(cases: CommonCases, metrics: tuple[str, ...]) -> _OneLabel:
    """Of several labels an image: one class against its absence.

    Raises:
        SpecError: the metrics are not all of one class.
    """
    named = {metric.partition(CLASS_MARK)[2] for metric in metrics}
    if len(named) != 1 or not named <= set(cases.classes):
        raise SpecError(
            f"With several labels an image a comparison is of one class. Got {', '.join(metrics) or 'no --metric'}. "
            f"Write --metric auroc{CLASS_MARK}{cases.classes[0]}, and one class a command."
        )
    name = named.pop()
    place = cases.classes.index(name)
    assessed = np.flatnonzero(~np.isnan(cases.y_true[:, place]))
    absent = (cases.y_true[assessed, place] == 0).astype(np.int64)
    y_prob = {model: prob[assessed, place] for model, prob in cases.y_prob.items()}
    both = {model: np.stack([prob, 1 - prob], axis=1) for model, prob in y_prob.items()}
    groups = None if cases.groups is None else [cases.groups[k] for k in assessed]
    return _OneLabel(absent, both, groups, (name, f"no {name}"), name, metrics)


def _numbers(
    kind: str,
    models: list[dict[str, Any]],
    compared: Sequence[ModelComparison | MethodComparison | FoldComparison],
    cases: Sequence[CommonCases],
    settings: Settings,
    split: str | None,
) -> dict[str, Any]:
    """The comparison as plain JSON values; the fields of each finding stand beside those of its kind."""
    rows = []
    for comparison in compared:
        values = asdict(comparison)
        rows.append(values.pop("finding") | values)
    groups = [part.groups for part in cases]
    return {
        "format": FORMAT,
        "kind": kind,
        "question": QUESTIONS[kind],
        "split": split,
        "unit": cases[0].unit,
        "classes": list(cases[0].classes),
        "positive_class": cases[0].positive,
        "num_images": sum(len(part.ids) for part in cases),
        "num_groups": sum(len(set(of_one)) for of_one in groups if of_one is not None) if all(groups) else None,
        "left_out": {name: count for part in cases for name, count in part.left_out.items() if count},
        "confidence_level": settings.confidence,
        "num_resamples": None if kind == "folds" else settings.num_resamples,
        "reference": compared[0].finding.first,
        "family": {"size": len(rows), "how": FAMILY[kind] if len(rows) > 1 else "one comparison, nothing adjusted"},
        "models": models,
        "comparisons": rows,
    }
