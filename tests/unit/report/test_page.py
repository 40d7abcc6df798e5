"""The report page: self-contained, complete, safe against foreign text, and accessible."""

import json
import re
from dataclasses import asdict
from html.parser import HTMLParser

import pytest

from chiron.core.errors import ReportError
from chiron.report.context import ReportContext
from chiron.report.figures import draw_figures
from chiron.report.format import estimate_text, interval_text, number
from chiron.report.limits import limits_of
from chiron.report.page import render_report

EVIL = '<b>x</b><script>alert("1")</script>'
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text outside `<style>`, and whether every tag is closed where it must be."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += "" if self._open[-1:] == ["style"] else data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def normal(text):
    return re.sub(r"\s+", " ", text)


def test_page_reaches_for_nothing_outside(binary_html):
    assert "http" not in binary_html
    assert "url(" not in binary_html.replace("url(#", "")
    assert "@import" not in binary_html
    page = Page(binary_html)
    assert not page.all("script") + page.all("img") + page.all("iframe") + page.all("object")
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:,"))
        assert not any(name.startswith("on") for name in attributes)


@pytest.mark.parametrize("name", ["binary", "seven"])
def test_every_estimate_stands_with_interval_method_and_numbers(request, name, context_of):
    evaluation = request.getfixturevalue(name)
    text = normal(Page(render_report(evaluation, context_of())).text)
    results = text[text.index("All classes together") :]
    for estimate in evaluation["overall"].values():
        if estimate["value"] is None:
            assert f"not defined: {estimate['note']}" in results
            continue
        limits = interval_text(estimate) if estimate["low"] is not None else "no interval"
        mark = "[a-z]?" if estimate["note"] else ""
        numbers = [f"{estimate[key]:,}" for key in ("num_images", "num_groups")]
        positives = estimate["num_positive_groups"]
        row = [number(estimate["value"]), limits, re.escape(estimate["method"]) + mark, *numbers]
        row.append("–" if positives is None else f"{positives:,}")
        assert re.search(r"\s*".join(row), results), row
        assert not estimate["note"] or estimate["note"] in results
    for result in evaluation["per_class"].values():
        for key in ("sensitivity", "specificity", "precision", "f1", "auroc", "average_precision"):
            estimate = result[key]
            shown = f"not defined: {estimate['note']}" if estimate["value"] is None else interval_text(estimate)
            assert shown in results


def test_undefined_numbers_are_never_zero_nan_or_none(seven, context_of):
    text = Page(render_report(seven, context_of())).text
    assert text.count("not defined: ") >= 10
    assert not re.search(r"\b(nan|NaN|None|null)\b", text)


def test_first_page_says_what_it_must(binary, context_of, evaluation_of):
    other = {"name": "a plain CNN", "params": 4_922_000, "init": "scratch", "evaluation": evaluation_of(seed=1)}
    context = context_of(others=[other])
    text = normal(Page(render_report(binary, context)).text)
    first = text[: text.index("Data and splits", text.index("Limits Found"))]
    auroc = binary["overall"]["auroc"]
    for wanted in (
        "Research use only, not a medical device",
        "Tells opacity (the positive class) from normal",
        "One image.",
        "Synthetic images",
        "Not coveredOther sites, devices and populations; findings other than normal and opacity",
        "no threshold was fitted. PPV and NPV hold at the prevalence of these images",
        "(139 patients)",
        normal(estimate_text(binary["overall"]["npv"])),
        "Expected calibration error",
        "240 images",
        number(auroc["value"]),
        f"CI {interval_text(auroc)}",
        auroc["method"],
        "a constant answer: 0.500",
        "a plain CNN",
        "4,922,000 parameters",
        interval_text(other["evaluation"]["overall"]["accuracy"]),
        f"Always “{binary['baselines']['majority_class']['class']}”",
        interval_text(binary["baselines"]["majority_class"]["accuracy"]),
        normal(estimate_text(binary["overall"]["sensitivity"])),
        "Of 1,000 images like these",
    ):
        assert normal(wanted) in first, wanted
    for limit in limits_of(binary, context):
        assert normal(limit.sentence) in first


def test_foreign_text_is_escaped(evaluation_of, context_of):
    classes = (EVIL, 'a" onload="alert(1)', "nv")
    evaluation = evaluation_of(classes, None)
    evaluation["overall"]["accuracy"]["note"] = EVIL
    texts = ("title", "task", "population", "reference_standard", "model", "init", "recipe_text", "data_source")
    changes = dict.fromkeys((*texts, "reader", "grouping", "command", "created", "selection_metric"), EVIL)
    changes |= {"data_notes": [EVIL], "leaks_accepted": [EVIL], "environment": {EVIL: {EVIL: EVIL}}}
    changes["splits"] = {EVIL: {EVIL: {"images": 3, "groups": 2}}}
    changes["others"] = [{"name": EVIL, "params": None, "init": EVIL, "evaluation": evaluation}]
    page = Page(render_report(evaluation, context_of(**changes), [{"epoch": 1, EVIL: 0.5, "train_loss": 0.1}]))
    assert not page.all("script")
    assert page.text.count(EVIL) > 20
    assert all("onload" not in attributes for _, attributes in page.tags)


def test_same_input_gives_the_same_page(binary, context_of, history, binary_html):
    assert render_report(binary, context_of(), history) == binary_html


def test_figures_that_are_drawn_already_are_shown(binary, context_of, history, binary_html):
    drawings = draw_figures(binary, history, selection_metric="val_auroc", best_epoch=3)
    assert render_report(binary, context_of(), history, drawings=drawings) == binary_html
    assert "<figure" not in render_report(binary, context_of(), history, drawings=[])


def test_every_figure_has_words_and_a_caption(binary_html):
    page = Page(binary_html)
    figures = [svg for svg in page.all("svg") if svg.get("class") == "figure"]
    assert len(figures) == len(page.all("figure")) == len(page.all("figcaption")) == 6
    assert all(len(svg["aria-label"]) > 60 and svg["role"] == "img" for svg in figures)
    decorative = [svg for svg in page.all("svg") if svg.get("class") != "figure"]
    assert all(svg["aria-hidden"] == "true" for svg in decorative)


def test_page_is_accessible(binary_html):
    page = Page(binary_html)
    assert page.all("html") == [{"lang": "en"}]
    assert [len(page.all(tag)) for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    assert all(heading.get("scope") in {"col", "row", "rowgroup"} for heading in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) >= 5
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in page.all("a")] + [
        attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes
    ]
    assert set(targets) <= set(ids)


@pytest.mark.parametrize("split", ["val", "external"])
def test_words_that_are_never_said(seven, context_of, history, split):
    text = Page(render_report(seven, context_of(split_scored=split), history)).text.lower()
    for word in ("diagnos", "ground truth", "validation", "benign", "artificial intelligence"):
        assert word not in text
    assert ("internal testing only" in text) == (split == "val")


@pytest.mark.parametrize("classes", [2, 15])
def test_long_names_and_bare_contexts_do_not_raise(evaluation_of, context_of, classes):
    names = tuple(f"Finding {n}, a remarkably long name that goes on and on, of the other lobe" for n in range(classes))
    evaluation = evaluation_of(names, names[0] if classes == 2 else None)
    bare = ReportContext(
        title="t",
        model="m",
        init="not stated",
        recipe_text="",
        data_source="d",
        reader="r",
        grouping="not stated",
        splits={},
        split_scored="unknown",
    )
    text = Page(render_report(evaluation, bare)).text
    assert all(name in text for name in names)
    assert "Recipe" not in text
    assert "Training" not in text


def test_splits_recipe_command_and_environment_are_shown(binary_html, context_of):
    context = context_of()
    text = normal(Page(binary_html).text)
    assert "400 300 groups, 51.3 %" in text.replace("\u00a0", " ").replace("400300", "400 300")
    assert "Images 780 Groups 600 Patients 590" in re.sub(r"(\D)(?=\d)", r"\1 ", text).replace("  ", " ")
    assert normal(context.recipe_text) in text
    assert context.command in text
    assert re.search(r"libraries\.numpy\s*2\.1", text)
    assert "4 epochs in 2 min 0 s (30.0 s an epoch); epoch 3 was kept by AUROC on val, the tuning split." in normal(
        text.replace("\u00a0", " ")
    )


def test_another_format_is_refused(binary, context_of):
    with pytest.raises(ReportError, match=r"must have format 1\. Got 2\. Make it again"):
        render_report(binary | {"format": 2}, context_of())


def test_a_missing_part_is_named(binary, context_of):
    del binary["confusion_matrix"]
    with pytest.raises(ReportError, match="without 'confusion_matrix'"):
        render_report(binary, context_of())


def test_context_refuses_what_it_cannot_say(context_of):
    with pytest.raises(ReportError, match=r"must be one of val, cal, test, external, unknown\. Got 'train'"):
        context_of(split_scored="train")
    with pytest.raises(ReportError, match=r"whole number or 'unknown'\. Got 'twice'"):
        context_of(test_looks="twice")


def test_context_survives_json(context_of):
    context = context_of(others=[{"name": "cnn", "params": 5, "init": "scratch", "evaluation": {}}])
    assert ReportContext(**json.loads(json.dumps(asdict(context)))) == context
