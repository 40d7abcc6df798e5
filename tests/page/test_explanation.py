"""The explanation: closed until asked for, with its scores, and left out where its explainer did not pass."""

import pytest
from page_stand_in import card, ok

pytestmark = pytest.mark.slow


@pytest.fixture
def result_page(server, open_page, image_files):
    def opened(**how):
        page = open_page(server.url, **how)
        page.set_input_files("#files", image_files[0])
        page.click("#run-button")
        page.wait_for_selector(".result")
        return page

    return opened


def test_it_is_closed_until_asked_for(server, result_page):
    page = result_page()
    summary = page.locator(".explanation summary")
    assert "where the model reacted, not where disease is" in summary.inner_text()
    assert page.locator(".explanation").get_attribute("open") is None
    assert not server.of("/api/explain")
    summary.click()
    page.wait_for_selector(".maps img")
    text = page.inner_text(".explanation")
    assert "Where the model reacted, not where disease is." in text
    assert "layer_cam is recommended for this bundle." in text
    assert page.locator(".scores dt").all_inner_texts() == ["Deletion", "Stability"]  # those that there are
    assert page.locator(".scores dd").all_inner_texts()[0].startswith("0.12")
    [asked] = server.of("/api/explain")
    assert asked.field("class_name") == "normal"
    assert asked.field("insist") is None
    assert b"Jane" not in asked.body


def test_it_stays_open_in_another_language_and_is_not_asked_for_again(server, result_page):
    page = result_page()
    page.click(".explanation summary")
    page.wait_for_selector(".maps img")
    page.click("[data-language=zh]")
    page.wait_for_selector("html[lang=zh]")
    assert page.locator(".maps img").count() == 2
    page.click(".explanation summary")
    page.click(".explanation summary")
    assert len(server.of("/api/explain")) == 1


@pytest.mark.parametrize(
    ("method", "words"),
    [("layer_cam", "an explainer must first pass its checks on this model"), (None, "this kind of model has none")],
)
def test_a_map_that_may_not_be_shown_is_left_out_with_the_reason(server, result_page, method, words):
    explainer = {"may_be_shown": False, "method": method, "words": "experimental", "reasons": ["on 40 images: ROAD"]}
    server.answers["/api/models"] = ok({"models": [card(explainer=explainer)], "disclaimer": ""})
    page = result_page()
    assert page.locator(".explanation, .maps").count() == 0
    assert words in page.inner_text(".withheld")
    assert "on 40 images: ROAD" in page.inner_text(".withheld")


def test_a_refused_map_is_told_with_its_reasons(server, result_page):
    told = {"error": "No map may be shown.", "kind": "explainer_not_passed", "reasons": ["for opacity: ROAD"]}
    server.answers["/api/explain"] = (409, told, {})
    page = result_page(mayfail=True)
    page.click(".explanation summary")
    page.wait_for_selector(".explanation .problem")
    assert "No map may be shown." in page.inner_text(".explanation")
    assert "for opacity: ROAD" in page.inner_text(".explanation")
    assert page.locator(".maps").count() == 0
