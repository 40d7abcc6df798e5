"""Sections that the numbers fill: each stands on the page with its numbers, and nothing stands there without them."""

import copy
import re

import numpy as np
import polars as pl
import pytest

from chiron.data.predictions import Predictions
from chiron.report.coarse_parts import shareable_numbers
from chiron.report.context import ReportContext
from chiron.report.figures import draw_figures
from chiron.report.format import NBSP, Few, estimate_text, interval_text, number
from chiron.report.page import render_report
from chiron.report.sections import calibration, questions
from chiron.report.sections.calibration import BEST, METHODS, how_calibrated
from chiron.report.sections.on_page import sections_of
from chiron.report.sections.questions import KINDS, PROMISES, promise_of
from chiron.spec.decision import Calibration, Conformal, Decision, Threshold
from chiron.spec.recipe import EvaluateRecipe
from chiron.workflows.numbers import compute_numbers
from chiron.workflows.stored import Stored

EVIL = "<b>ann</b>"
CONTEXT = ReportContext(
    title="t", model="m", init="scratch", recipe_text="", data_source="d", reader="r", grouping="by patient", splits={}
)
FILLED = ("decisions", "image-level", "sets", "referral", "subgroups", "strata", "readers", "worst-case")


def make_numbers(num_images=420, seed=0):
    """Patients of two images, a threshold, sets, two readers, a subgroup, a stratum and two unreadable patients."""
    rng = np.random.default_rng(seed)
    patient = np.arange(num_images) // 2
    y_true = np.repeat(rng.integers(0, 2, num_images // 2), 2)
    logits = rng.normal(size=(num_images, 2))
    logits[np.arange(num_images), y_true] += 1.5
    classes = ("no", "yes")
    status = np.where(patient < 2, "unreadable", "ok")
    agrees = rng.random(num_images // 2)[patient] < 0.8
    frame = pl.DataFrame(
        {
            "sample_id": [f"s{k}" for k in range(num_images)],
            "patient_id": [f"p{k}" for k in patient],
            "group_id": [f"p{k}" for k in patient],
            "fitzpatrick": [("I", "VI", None)[k % 3] for k in patient],
            "dx_type": [("histo", EVIL)[k % 2] for k in patient],
            "y_true": [classes[k] for k in y_true],
            "status": status,
            f"reader_{EVIL}": [classes[k] if same else classes[1 - k] for k, same in zip(y_true, agrees, strict=True)],
            "logit_no": pl.Series(np.where(status == "ok", logits[:, 0], np.nan)).fill_nan(None),
            "logit_yes": pl.Series(np.where(status == "ok", logits[:, 1], np.nan)).fill_nan(None),
        }
    )
    threshold = Threshold(
        question="yes",
        classes=("yes",),
        rule="expected",
        sensitivity=0.9,
        value=0.2,
        low=0.15,
        high=0.3,
        num_found=57,
        num_positive=61,
        num_groups=60,
        fitted_on="cal",
    )
    decision = Decision(
        unit="patient",
        calibration=Calibration(
            method="temperature", parameters=({"temperature": (1.2,)},), fitted_on="cal", num_units=120, num_groups=110
        ),
        thresholds=(threshold,),
        conformal=Conformal(
            score="lac",
            alpha=0.1,
            by="class",
            quantiles={"no": 0.8, "yes": None},
            num_groups={"no": 90, "yes": 8},
            fitted_on="cal",
        ),
    )
    facts = {"decision": decision.model_dump(mode="json")}
    stored = Stored(Predictions(frame, classes, "yes", facts), CONTEXT, EvaluateRecipe(num_resamples=200))
    return compute_numbers(stored)


@pytest.fixture(scope="module")
def made():
    """The numbers, made once."""
    return make_numbers()


@pytest.fixture
def numbers(made):
    """A copy that a test may change."""
    return copy.deepcopy(made)


@pytest.fixture(scope="module")
def html(made):
    """The page, made once."""
    return render_report(made, CONTEXT)


def text_of(html):
    bare = re.sub(r"<style.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", bare.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">"))


def section_of(html, name):
    start = html.index(f'<section id="{name}"')
    return text_of(html[start : html.index("</section>", start)])


def test_every_part_has_its_section_and_a_link(html):
    for name in FILLED:
        assert f'<section id="{name}"' in html
        assert f'<a href="#{name}">' in html


def test_without_numbers_there_is_no_section(binary):
    assert [section.id for section in sections_of(binary, CONTEXT)] == ["calibration"]


def test_question_stands_on_the_first_page_at_its_threshold(numbers, html):
    question = numbers["questions"]["yes"]
    first = text_of(html[: html.index('<section id="data"')])
    assert "yes: yes at a score of 0.200 and more, chosen for a sensitivity of 0.90" in first
    assert "on cal, where 57 of 61 positives reach it" in first
    for key in ("sensitivity", "specificity", "ppv", "npv"):
        assert text_of(estimate_text(question[key])) in first
    assert question["specificity"]["value"] != numbers["overall"]["specificity"]["value"]
    cells = [question["counts"][kind] for kind in KINDS]
    assert f"{round(1000 * cells[0] / sum(cells))} found" in re.sub(r"found (\d+)", r"\1 found", first)
    assert "at the threshold of yes" in first
    assert "patients like these" in first


def test_promise_stands_beside_what_was_found(numbers, html):
    shown = section_of(html, "decisions")
    assert f"≥ 0.90 {PROMISES['expected']}" in shown
    assert "57 of 61" in shown
    found = numbers["questions"]["yes"]["sensitivity"]
    assert f"{number(found['value'])} {interval_text(found)}" in shown


@pytest.mark.parametrize(("fitted_on", "rule", "weaker"), [
    ("cross_fit", "guaranteed", True), ("cross_fit", "expected", True), ("cross_fit", "point", False),
    ("cal", "guaranteed", False),
])  # fmt: skip
def test_a_promise_of_cross_fitted_networks_is_called_weaker(fitted_on, rule, weaker):
    told = promise_of({"rule": rule, "fitted_on": fitted_on})
    assert told.startswith(PROMISES[rule])
    assert ("not proven" in told) == weaker


def test_both_levels_stand_side_by_side(numbers, html):
    shown = section_of(html, "image-level")
    assert "416 images made 208 patients" in shown.replace("\u00a0", " ")
    for level in (numbers["overall"], numbers["image_level"]["overall"]):
        assert interval_text(level["auroc"]) in shown


def test_calibration_says_what_was_done_and_fits_the_positive_class(numbers, html):
    shown = section_of(html, "calibration")
    assert f"calibrated by {METHODS['temperature']}. Fitted on 120 patients of 110 groups" in shown.replace(NBSP, " ")
    for part in ("before", "by_class"):
        assert interval_text(numbers["calibration_fit"][part]["yes"]["slope"]) in shown
    assert "the network's own, before" in shown


def estimate(value, low, high):
    return {"value": value, "low": low, "high": high, "method": "", "note": None}


def calibration_words(numbers, **fit):
    numbers["calibration_fit"]["by_class"]["yes"] |= fit
    return " ".join(calibration.section(numbers, CONTEXT).sentences).replace(NBSP, " ")


def test_calibration_says_in_words_what_its_numbers_mean(numbers):
    numbers["class_counts"]["yes"]["prevalence"] = estimate(0.5, 0.4, 0.6)
    off = {"in_the_large": estimate(-0.1, -0.15, -0.05), "slope": estimate(0.6, 0.4, 0.8)}
    shown = calibration_words(numbers, **off)
    assert "On average: 50.0 % of these patients have yes; the probabilities of it average 60.0 %" in shown
    assert "so they are too high." in shown
    assert "a slope of 0.600 (95 % CI 0.400–0.800) where 1 is best, so they are too extreme" in shown
    shown = calibration_words(numbers, in_the_large=estimate(0.1, 0.05, 0.15), slope=estimate(1.6, 1.2, 2.0))
    assert "so they are too low." in shown
    assert "so they are too cautious" in shown
    shown = calibration_words(numbers, in_the_large=estimate(0.1, -0.05, 0.25), slope=estimate(0.9, None, None))
    assert "a difference that chance could explain" in shown
    assert "without an interval" in shown


def test_calibration_of_several_classes_names_those_that_are_off(numbers):
    numbers["calibration_fit"] |= {"method": "none", "before": None}
    numbers["calibration_fit"]["by_class"] = {
        "no": {key: estimate(1.0, 0.5, 1.5) for key in BEST} | {"in_the_large": estimate(0.0, -0.1, 0.1)},
        "yes": {key: estimate(0.5, 0.3, 0.7) for key in BEST},
    }
    shown = calibration_words(numbers)
    assert "Beyond chance on average too high or too low: the probabilities of yes." in shown
    assert "Beyond chance too extreme or too cautious: the probabilities of yes." in shown
    for key, best in BEST.items():
        numbers["calibration_fit"]["by_class"]["yes"][key] = estimate(best, best - 0.1, best + 0.1)
    assert "For no class are the probabilities too extreme or too cautious beyond chance." in calibration_words(numbers)


@pytest.mark.parametrize(
    ("fitted_on", "words"),
    [
        ("cal", "which trained nothing and chose no weights"),
        ("cross_fit", "each of 5 networks on the fold that it was not trained on"),
        ("reuse_val", "the fit looks better than it is"),
    ],
)
def test_where_calibration_was_fitted_is_told_with_what_it_means(fitted_on, words):
    found = {"method": "platt", "fitted_on": fitted_on, "num_units": 90, "num_groups": 80, "num_members": 5}
    assert words in how_calibrated(found, "patient")


def test_both_levels_stand_in_the_order_of_the_results_with_a_method_for_each_metric(html):
    shown = section_of(html, "image-level").replace(NBSP, " ")
    names = ["AUROC", "Average precision", "Sensitivity (recall)", "Accuracy", "Brier score"]
    places = [shown.index(f" {name} ") for name in names]
    assert places == sorted(places)
    assert "share of patients or images whose model output agrees" in shown
    methods = shown[shown.index("Interval methods.") :]
    assert re.search(r"clustered Wilson: [^;]*Accuracy", methods)
    assert "Patient (208)" not in methods


def threshold_note(numbers, **changes):
    numbers["questions"]["yes"]["threshold"] |= changes
    (table,) = [it for it in questions.section(numbers, CONTEXT).tables if it.columns[0] == "Threshold"]
    return "; ".join(note for _, note in table.notes)


def test_a_threshold_without_limits_says_why(numbers):
    assert threshold_note(numbers) == ""
    few = "61 positives are too few for limits on both sides of the threshold"
    assert threshold_note(numbers, low=None) == few
    assert "no limits are known" in threshold_note(numbers, rule="youden", sensitivity=None, high=None)


def test_sets_name_the_class_that_always_enters(numbers, html):
    shown = section_of(html, "sets")
    assert "at least 90 %" in shown.replace("\u00a0", " ")
    assert "Too few groups to fit: yes always enters the set." in shown
    assert interval_text(numbers["conformal"]["found"]["overall"]["coverage"]) in shown


def test_subgroups_tell_gaps_that_remain_possible_and_no_absence_of_bias(numbers, html):
    shown = section_of(html, "subgroups")
    entry = numbers["subgroups"][0]
    assert "One test of interaction (sensitivity and specificity together" in shown
    assert re.search(
        r"\. Sensitivity, (I|VI|not recorded) against the rest: a gap up to 0\.\d+ cannot be excluded", shown
    )
    assert re.search(r"AUROC, (I|VI|not recorded) against the rest", shown)
    assert "fitzpatrick, question yes (exploratory)" in shown
    assert "not recorded" in shown
    assert interval_text(entry["groups"]["VI"]["difference_to_rest"]["sensitivity"]) in shown
    assert "no bias" not in text_of(html)


def test_foreign_names_are_escaped_everywhere(html):
    assert EVIL not in html
    assert EVIL in section_of(html, "readers")
    assert EVIL in section_of(html, "strata")


def test_readers_are_points_on_the_roc(made):
    roc = next(drawing for drawing in draw_figures(made) if drawing.name == "roc")
    point = made["readers"][0]["points"][0]
    assert f"sensitivity {number(point['sensitivity']['value'])}" in roc.alt
    assert "Crosses are readers" in roc.caption
    assert "the frozen threshold" in roc.caption
    crosses = [line for line in roc.figure.axes[0].lines if line.get_marker() == "x"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [
        (pytest.approx(1 - point["specificity"]["value"]), pytest.approx(point["sensitivity"]["value"]))
    ]


def test_the_circle_on_the_roc_is_the_frozen_threshold(made):
    roc = next(drawing for drawing in draw_figures(made) if drawing.name == "roc")
    question = made["questions"]["yes"]
    (circle,) = [line for line in roc.figure.axes[0].lines if line.get_marker() == "o"]
    assert circle.get_ydata()[0] == question["sensitivity"]["value"]
    assert circle.get_xdata()[0] == 1 - question["specificity"]["value"]
    assert circle.get_ydata()[0] != made["overall"]["sensitivity"]["value"]


def test_risk_coverage_is_drawn_with_words(made):
    drawing = next(drawing for drawing in draw_figures(made) if drawing.name == "risk_coverage")
    assert f"100\u00a0% answered, {100 * made['abstention']['risk'][-1]:.1f}\u00a0% wrong" in drawing.alt


def net_benefit_of(made):
    estimate = made["overall"]["auroc"]
    return [
        {"threshold": t, "model": estimate | {"value": 0.3}, "treat_all": estimate | {"value": 0.5 - t}}
        for t in (0.1, 0.2, 0.3)
    ]


def test_decision_curve_only_of_calibrated_probabilities(numbers):
    numbers["questions"]["yes"]["net_benefit"] = net_benefit_of(numbers)
    numbers["questions"]["yes"]["at_prevalence"] = [
        {"prevalence": 0.02, "stated": True, "ppv": numbers["overall"]["ppv"], "npv": numbers["overall"]["npv"]}
    ]
    stated = [point | {"over_default": point["model"]} for point in net_benefit_of(numbers)]
    curves = [
        {"prevalence": share, "stated": share == 0.02, "points": stated if share == 0.02 else []}
        for share in (0.02, 0.5)
    ]
    numbers["questions"]["yes"]["net_benefit_at_prevalence"] = curves
    assert "decision_curve" in {drawing.name for drawing in draw_figures(numbers)}
    shown = section_of(render_report(numbers, CONTEXT), "decisions").replace("\u00a0", " ")
    assert "at 2.0 %, as stated" in shown
    assert "Net benefit at the stated prevalence" in shown
    assert shown.count("acting from") == 3
    assert "carry over" in shown
    numbers["calibration_fit"]["method"] = "none"
    assert "decision_curve" not in {drawing.name for drawing in draw_figures(numbers)}


def test_failed_cases_are_counted_and_taken_as_wrong(numbers, html):
    shown = section_of(html, "worst-case").replace("\u00a0", " ")
    assert "2 cases could not be read" in shown
    worst = numbers["worst_case"]["questions"]["yes"]["sensitivity_worst"]
    assert interval_text(worst) in shown


def whole_numbers(value):
    """Every whole number in a nested value that is told as it is."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from whole_numbers(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from whole_numbers(inner)
    elif isinstance(value, int) and not isinstance(value, bool | Few):
        yield value


def test_what_leaves_the_project_has_no_exact_count(numbers):
    found = shareable_numbers(numbers)
    assert not {"readers", "worst_case", "conformal", "abstention"} & found.keys()
    assert found["calibration_fit"].pop("num_members") == 1  # networks, no cases
    for key in ("unit", "image_level", "questions", "subgroups", "calibration_fit"):
        counts = list(whole_numbers(found[key]))
        assert counts
        per_1000 = {n for it in found["questions"].values() for _, n in it["per_1000"] or []}
        assert all(n % 5 == 0 for n in counts if n not in per_1000), key


def test_a_question_with_a_small_cell_tells_no_rate(numbers):
    numbers["questions"]["yes"]["counts"] = {"found": 97, "missed": 3, "false_alarms": 20, "rightly_negative": 88}
    told = shareable_numbers(numbers)["questions"]["yes"]
    assert told["counts"]["missed"] == Few()
    assert told["per_1000"] is None
    rates = [
        it for key, it in told.items() if isinstance(it, dict) and "method" in it and key[:3] not in ("aur", "ave")
    ]
    assert len(rates) >= 5
    assert all(it["withheld"] for it in rates)
    page = text_of(render_report(shareable_numbers(numbers), CONTEXT, shareable=True))
    assert "withheld" in page


def test_subgroups_that_leave_tell_fewer_than_five_patients_as_such(numbers):
    part = numbers["subgroups"][0]["groups"]["VI"]
    part |= {"groups": 4, "images": 30}
    told = shareable_numbers(numbers)["subgroups"][0]
    assert str(told["groups"]["VI"]["groups"]) == "<5"
    for key in ("sensitivity", "specificity", "auroc", "observed_over_expected"):
        assert told["groups"]["VI"][key]["withheld"]
    assert told["cannot_be_excluded"] == []
    assert told["interaction"]["p_value"] is None
    gaps = [gap for it in told["groups"].values() for gap in it["difference_to_rest"].values()]
    assert gaps
    assert all(gap["withheld"] for gap in gaps)


def test_parts_without_a_rule_do_not_leave(numbers):
    numbers["something_new"] = {"counts": 3}
    assert "something_new" not in shareable_numbers(numbers)


def test_of_the_parts_of_one_attribute_never_one_alone_is_withheld(numbers):
    parts = numbers["subgroups"][0]["groups"]
    for place, part in enumerate(parts.values()):
        part |= {"positives": 100, "negatives": 100, "images": 200, "groups": 90}
        part["sensitivity"]["value"] = 0.98 if place == 0 else 0.8
        part["specificity"]["value"] = 0.8
    told = shareable_numbers(numbers)["subgroups"][0]
    assert told["attribute"] == "skin tone"
    assert sum("withheld" in it["sensitivity"] for it in told["groups"].values()) == 2
    assert not any("withheld" in it["specificity"] for it in told["groups"].values())


def test_columns_with_free_names_and_strata_do_not_leave(numbers):
    numbers["subgroups"][0]["attribute"] = "Dr Zoltan's ward"
    found = shareable_numbers(numbers)
    assert found["subgroups"] == []
    assert "strata" not in found
