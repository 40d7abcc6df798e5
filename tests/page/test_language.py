"""English and Chinese: switched without loading the page again, remembered, and marked as what they are."""

import pytest

pytestmark = pytest.mark.slow


def test_switching_keeps_everything_and_loads_nothing_again(server, open_page, image_files):
    page = open_page(server.url)
    page.set_input_files("#files", image_files[:2])
    page.click("#run-button")
    page.wait_for_selector(".result")
    page.evaluate("window.stays = true")
    values = page.eval_on_selector_all(".bars data", "all => all.map(it => it.value)")
    num_asked = len(server.asked)
    page.focus("[data-language=zh]")
    page.keyboard.press("Enter")
    page.wait_for_selector("html[lang=zh]")
    page.wait_for_selector(".headline .main:has-text('opacity：否')")
    assert page.evaluate("window.stays")
    assert len(server.asked) == num_asked
    assert page.eval_on_selector_all(".bars data", "all => all.map(it => it.value)") == values
    assert page.locator(".images li").count() == 2
    assert page.evaluate("document.activeElement.dataset.language") == "zh"
    assert page.get_attribute("[data-language=zh]", "aria-pressed") == "true"
    text = page.inner_text("body")
    for words in (
        "仅供研究使用",
        "这不能排除“opacity”：在 48 例实际存在的测试病例中，3 例被回答为“否”",
        "93.0%",
        "phantoms of the test split",
    ):
        assert words in text
    assert "not clinically reviewed" in page.inner_text("#unreviewed")
    page.click("[data-language=en]")
    page.wait_for_selector("html[lang=en]")
    assert page.is_hidden("#unreviewed")
    assert "opacity: no" in page.inner_text(".said >> nth=0")


def test_the_language_is_remembered(server, open_page):
    page = open_page(server.url)
    page.click("[data-language=zh]")
    page.wait_for_selector("html[lang=zh]")
    page.reload()
    page.wait_for_selector("html[lang=zh]")
    assert "not clinically reviewed" in page.inner_text("#unreviewed")


@pytest.mark.parametrize(("locale", "language"), [("zh-TW", "zh"), ("en-GB", "en"), ("de-DE", "en")])
def test_the_first_language_is_the_browsers(server, open_page, locale, language):
    page = open_page(server.url, locale=locale)
    assert page.get_attribute("html", "lang") == language


def test_in_chinese_no_english_is_left_but_the_servers(server, open_page, image_files):
    page = open_page(server.url, locale="zh-CN")
    page.set_input_files("#files", image_files[:2])
    page.click("#run-button")
    page.wait_for_selector(".result")
    left = page.evaluate("""() => {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
      while (walker.nextNode()) {
        const node = walker.currentNode, text = node.data.trim();
        const hidden = node.parentElement.closest("[lang=en], noscript, code, .code, script");
        if (!hidden && /[a-z]{3}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text)) found.push(text);
      }
      return [...new Set(found)];
    }""")
    own = {"chest", "normal", "opacity", "chiron_fair_cnn_nano", "chest (chiron_fair_cnn_nano)", "Jane Doe 0.png"}
    own |= {"Jane Doe 1.png", "0d1561fa14153bea", "47813c1c600e5d2a", "opacity 23.0%", "Chiron", "Chiron 0.1.0"}
    assert set(left) <= own
