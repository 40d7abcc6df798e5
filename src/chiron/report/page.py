"""The report: one HTML file that needs no network and no script."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from chiron.core.errors import ReportError
from chiron.report import format as formats
from chiron.report import sentences
from chiron.report.checklists.answers import answered_checklists
from chiron.report.context import ReportContext
from chiron.report.data_tables import flow_view, table_one_rows
from chiron.report.explanations import Explained, explanation_view
from chiron.report.figures import draw_figures, inline_svg
from chiron.report.gallery import Gallery
from chiron.report.limits import Limit, limits_of
from chiron.report.plots.learning_curves import History, metric_name
from chiron.report.plots.style import Drawing
from chiron.report.sections.on_page import sections_of
from chiron.report.sections.questions import headline
from chiron.report.simulated_coverage import coverage_sentences
from chiron.report.tables import (
    class_rows,
    comparison_rows,
    decision_rows,
    environment_rows,
    headline_companions,
    headline_key,
    overall_table,
    per_class_table,
)
from chiron.report.templating import templates
from chiron.report.words import init_text, word
from chiron.version import __version__

FORMAT = 1
FIRST_SECTIONS = {
    "glance": "At a glance",
    "limits": "Limits",
    "data": "Data and splits",
    "results": "Results",
    "classes": "Results by class",
}
LAST_SECTIONS = {  # after those that the numbers fill, see `sections.on_page`
    "failures": "Failures",
    "maps": "Where the model reacted",
    "training": "Training",
    "made": "How it was made",
    "checklists": "Reporting checklists",
}


def render_report(
    evaluation: Mapping[str, Any],
    context: ReportContext,
    history: History | None = None,
    *,
    gallery: Gallery | None = None,
    explained: Explained | None = None,
    limits: Sequence[Limit] | None = None,
    drawings: Sequence[Drawing] | None = None,
    shareable: bool = False,
) -> str:
    """The whole report as HTML. The same input gives the same text.

    Args:
        evaluation: what `chiron.metrics` computed from a predictions table.
        context: where the predictions come from.
        history: one mapping an epoch; without it the learning curves are left out.
        gallery: the failures; without them the page has none.
        explained: maps of some images; without them the page has none.
        limits: what `limits_of` found; by default it is asked here. A shareable page needs those of the exact numbers.
        drawings: the figures, where they are drawn already.
        shareable: say that numbers are coarse and things left out (`report.coarse` and `report.sharing` do it).
    Raises:
        ReportError: the evaluation has another format or lacks a part.
    """
    if evaluation.get("format") != FORMAT:
        raise ReportError(
            f"An evaluation must have format {FORMAT}. Got {evaluation.get('format')!r}. "
            "Make it again with `chiron evaluate` of this version."
        )
    try:
        view = _view(evaluation, context, history)
        view |= {
            "figures": _figures(_drawn(evaluation, context, history) if drawings is None else drawings),
            "limits": limits_of(evaluation, context) if limits is None else limits,
            "gallery": gallery,
            "failures": sentences.failures(gallery) if gallery else {},
            "explained": explanation_view(explained) if explained else None,
            "shareable": sentences.SHAREABLE if shareable else "",
        }
        view["more"] = sections_of(evaluation, context)
        sections = _sections(view)
        view |= {"sections": sections, "checklists": answered_checklists(evaluation, context, frozenset(sections))}
        return templates().get_template("report.html.j2").render(**view)
    except KeyError as error:
        raise ReportError(
            f"An evaluation must be complete. Got one without {error}. Make it again with `chiron evaluate`."
        ) from error


def _sections(view: Mapping[str, Any]) -> dict[str, str]:
    """Ids and headings of the sections that this page has, in their order."""
    optional = {"failures": view["gallery"], "maps": view["explained"], "training": view["training"]}
    after = {name: heading for name, heading in LAST_SECTIONS.items() if optional.get(name, True)}
    return FIRST_SECTIONS | {section.id: section.heading for section in view["more"]} | after


def _view(evaluation: Mapping[str, Any], context: ReportContext, history: History | None) -> dict[str, Any]:
    """Everything the templates show, ready to print: they hold no rules of their own."""
    return {
        "context": context,
        "evaluation": evaluation,
        "version": __version__,
        "level": formats.level(evaluation["confidence_level"]),
        "case": formats.case(evaluation),
        "first": _first_page(evaluation, context),
        "grouping": sentences.grouping(context),
        "classes": class_rows(evaluation),
        "table_one": table_one_rows(context, list(evaluation["classes"]), several=formats.is_multi_label(evaluation)),
        "flow": flow_view(context),
        "overall": overall_table(evaluation),
        "coverage": coverage_sentences(evaluation),
        "per_class": per_class_table(evaluation),
        "multi_label": formats.is_multi_label(evaluation),
        "decisions": decision_rows(evaluation),
        "training": _training(context, history),
        "environment": environment_rows(context.environment),
    }


def _first_page(evaluation: Mapping[str, Any], context: ReportContext) -> dict[str, Any]:
    key, question = headline_key(evaluation), headline(evaluation)
    return {
        "research_use": sentences.RESEARCH_USE,
        "question": sentences.question(evaluation),
        "unit": sentences.unit(evaluation, context),
        "population": sentences.population(context),
        "not_covered": sentences.not_covered(evaluation, context),
        "decision": question["decision"] if question else sentences.decision(evaluation),
        "class_shares": sentences.class_shares(evaluation),
        "calibration": f"{sentences.recalibration(evaluation)} {sentences.calibration(evaluation)}".lstrip(),
        "scored": sentences.scored(evaluation, context),
        "looks": sentences.looks(context),
        "headline": word(key),
        "estimate": evaluation["overall"][key],
        "model": context.model,
        "init": init_text(context.init),
        "beside": question["companions"] if question else headline_companions(evaluation),
        "comparison": comparison_rows(evaluation, context),
        "per_thousand": question["per_thousand"] if question else sentences.per_thousand(evaluation),
        "per_thousand_at": (f"at the threshold of {question['name']}" if question else "at the highest output")
        + "; the intervals of these shares stand above",
    }


def _drawn(evaluation: Mapping[str, Any], context: ReportContext, history: History | None) -> list[Drawing]:
    return draw_figures(evaluation, history, selection_metric=context.selection_metric, best_epoch=context.best_epoch)


def _figures(drawings: Sequence[Drawing]) -> dict[str, dict[str, Any]]:
    return {
        drawing.name: {
            "number": place,
            "caption": drawing.caption,
            "svg": Markup(inline_svg(drawing)),
            "width": round(96 * drawing.figure.get_figwidth()),
        }
        for place, drawing in enumerate(drawings, start=1)
    }


def _training(context: ReportContext, history: History | None) -> str:
    """How long training took and which epoch was kept."""
    if not history:
        return ""
    text = f"{formats.plural(len(history), 'epoch')}"
    spent = [row["seconds"] for row in history if row.get("seconds") is not None]
    if spent:
        text += f" in {formats.seconds(sum(spent))} ({formats.seconds(sum(spent) / len(spent))} an epoch)"
    if context.best_epoch is not None:
        by = f" by {metric_name(context.selection_metric)} on val, the tuning split" if context.selection_metric else ""
        text += f"; epoch {context.best_epoch} was kept{by}"
    return f"{text}."
