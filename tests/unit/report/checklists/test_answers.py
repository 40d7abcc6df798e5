"""Checklists: the published items are there once, and evidence is claimed only where the page has it."""

import re
from typing import get_args

import pytest

from chiron.report.checklists import answers, claim, clear_derm, stard_ai, tripod_ai
from chiron.report.checklists.rules import Facts, Kind
from chiron.report.page import FIRST_SECTIONS, LAST_SECTIONS, render_report

SECTIONS = FIRST_SECTIONS | LAST_SECTIONS
LISTS = [claim.CHECKLIST, tripod_ai.CHECKLIST, stard_ai.CHECKLIST, clear_derm.CHECKLIST]
# Whole items and rows with sub-items, as published.
COUNTS = {"CLAIM 2024": (44, 44), "TRIPOD+AI": (27, 52), "STARD-AI": (40, 48), "CLEAR Derm": (25, 25)}
# Whole items by section of the publication: front matter, methods, results, discussion and the rest, as published.
SECTION_SIZES = {
    "CLAIM 2024": [2, 2, 30, 5, 2, 3],
    "TRIPOD+AI": [2, 2, 13, 1, 1, 5, 3],
    "STARD-AI": [2, 2, 19, 9, 3, 5],
    "CLEAR Derm": [],
}


@pytest.mark.parametrize("checklist", LISTS, ids=lambda it: it.name)
def test_item_numbers_are_those_of_the_publication(checklist):
    numbers = [item.number for item in checklist.items]
    whole = [int(re.match(r"\d+", number)[0]) for number in numbers]
    assert len(set(numbers)) == len(numbers)
    assert whole == sorted(whole)
    assert sorted(set(whole)) == list(range(1, COUNTS[checklist.name][0] + 1))
    assert len(numbers) == COUNTS[checklist.name][1]
    assert checklist.num_items == COUNTS[checklist.name][0]


@pytest.mark.parametrize("checklist", LISTS, ids=lambda it: it.name)
def test_the_page_tells_the_size_of_a_list_and_what_it_was_compared_with(checklist, seven, context_of):
    assert list(checklist.sizes.values()) == SECTION_SIZES[checklist.name]
    assert not checklist.parts or sum(checklist.sizes.values()) == checklist.num_items
    found = answers.answered_checklists(seven, context_of(), frozenset(SECTIONS))
    (told,) = [it["size"] for it in found if it["name"] == checklist.name]
    assert told.startswith(f"{checklist.num_items} items")
    assert "compared with the published" in told if checklist is clear_derm.CHECKLIST else "was not at hand" in told


def test_an_update_is_claimed_only_where_the_scored_images_were_not_fitted_on(binary, context_of):
    assert kinds(binary, context_of())["TRIPOD+AI", "24"].kind == "not applicable"
    binary["calibration_fit"] = {"fitted_on": "reuse_val", "method": "temperature"}
    assert kinds(binary, context_of(split_scored="val"))["TRIPOD+AI", "24"].kind == "by the author"


def test_a_recalibration_is_an_update(binary, context_of):
    sizes = {"num_images": 80, "num_units": 80, "num_groups": 70}
    binary["recalibration"] = {"former_bundle_id": "abc", "split": "cal", "unit": "image", "thresholds": {}, **sizes}
    found = kinds(binary, context_of(), {*SECTIONS, "calibration"})["TRIPOD+AI", "24"]
    assert found.kind == "evidence"
    assert "recalibrated on other images" in found.words


def test_several_networks_are_an_ensemble(binary, context_of):
    assert kinds(binary, context_of())["CLAIM 2024", "27"].kind == "not applicable"
    binary["calibration_fit"] = {"fitted_on": "cross_fit", "method": "temperature", "num_members": 5}
    found = kinds(binary, context_of(), {*SECTIONS, "calibration"})["CLAIM 2024", "27"]
    assert (found.kind, found.words) == ("evidence", "5 networks, cross-fitted")


def kinds(evaluation, context, sections=SECTIONS):
    found = answers.answered_checklists(evaluation, context, frozenset(sections))
    return {(it["name"], row["number"]): row["answer"] for it in found for row in it["rows"]}


def test_evidence_stands_in_a_section_of_the_page(binary, context_of):
    found = kinds(binary, context_of(), {"glance", "limits"})
    assert {answer.section for answer in found.values()} == {"glance", "limits", ""}
    for answer in found.values():
        assert answer.kind in get_args(Kind)
        assert bool(answer.section) == (answer.kind == "evidence")
        assert answer.words or answer.kind in ("by the author", "not reported")
        assert answer.words or answer.kind != "not applicable"


# item -> a change of the context that takes its evidence away
@pytest.mark.parametrize(
    ("item", "change"),
    [
        ("3", {"task": ""}),
        ("14", {"reference_standard": ""}),
        ("19", {"splits": {}}),
        ("23", {"environment": {}}),
        ("24", {"init": "not stated"}),
        ("32", {"split_scored": "val"}),
        ("42", {"command": ""}),
    ],
)
def test_what_is_not_there_is_not_reported(binary, context_of, item, change):
    assert kinds(binary, context_of())["CLAIM 2024", item].kind == "evidence"
    assert kinds(binary, context_of(**change))["CLAIM 2024", item].kind == "not reported"


def test_external_testing_is_evidence_only_of_external_images(binary, context_of):
    assert kinds(binary, context_of())["CLAIM 2024", "33"].kind == "not reported"
    external = kinds(binary, context_of(split_scored="external"))
    assert external["CLAIM 2024", "33"].kind == "evidence"
    assert external["CLAIM 2024", "32"].kind == "not applicable"


def test_the_checklist_for_skin_comes_with_skin(binary, seven, context_of):
    assert not answers.is_skin(binary, context_of())
    assert answers.is_skin(seven, context_of())
    assert answers.is_skin(binary, context_of(population="Dermatoscopic images"))
    assert answers.answered_checklists(seven, context_of(), frozenset(SECTIONS))[-1]["name"] == "CLEAR Derm"


def test_skin_tone_is_reported_only_from_a_column(seven, context_of):
    assert kinds(seven, context_of(columns=["age"]))["CLEAR Derm", "8"].kind == "not reported"
    assert kinds(seven, context_of(columns=["fitzpatrick"]))["CLEAR Derm", "8"].kind == "evidence"


def test_lists_are_closed_and_nothing_is_counted(seven, context_of, history):
    html = render_report(seven, context_of(), history)
    assert html.count('<details class="checklist">') == 4
    section = html[html.index('id="checklists"') :]
    assert not re.search(r"\d+ (of|/) \d+|\d+ ?%|complian|complete", section)
    assert "own short restatement" in section
    for target in re.findall(r'href="#([^"]+)"', section):
        assert f'<section id="{target}"' in html


def test_every_rule_answers_a_bare_report(binary, context_of):
    bare = context_of(splits={}, table_one=None, environment={}, recipe_text="", model="not stated", columns=None)
    facts = Facts(binary, bare, frozenset())
    for checklist in LISTS:
        assert all(item.rule(facts).kind != "evidence" for item in checklist.items)
