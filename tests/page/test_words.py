"""Both languages have every word that the page uses, with the same values in it."""

import json
import re

import pytest
from page_stand_in import PAGE

from chiron.spec.provenance import DISCLAIMER

WORDS = {name: json.loads(PAGE.joinpath(f"words/{name}.json").read_text("utf-8")) for name in ("en", "zh")}
SCRIPTS = {path.name: path.read_text("utf-8") for path in PAGE.iterdir() if path.name.endswith(".js")}
HTML = PAGE.joinpath("index.html").read_text("utf-8")


def forms(sentence) -> list[str]:
    return [sentence] if isinstance(sentence, str) else list(sentence.values())


def values(sentence) -> set[str]:
    return {name for form in forms(sentence) for name in re.findall(r"\{(\w+)\}", form)}


def test_both_languages_have_the_same_words_with_the_same_values():
    assert list(WORDS["en"]) == list(WORDS["zh"])
    for key, sentence in WORDS["en"].items():
        assert values(sentence) == values(WORDS["zh"][key]), key


@pytest.mark.parametrize("language", WORDS)
def test_no_word_is_empty_but_the_notice_of_english(language):
    empty = {key for key, sentence in WORDS[language].items() for form in forms(sentence) if not form.strip()}
    assert empty == ({"notice.language"} if language == "en" else set())


@pytest.mark.parametrize("language", WORDS)
def test_counted_sentences_have_the_forms_of_their_language(language):
    counted = [sentence for sentence in WORDS[language].values() if not isinstance(sentence, str)]
    assert counted
    assert all(set(sentence) == ({"one", "other"} if language == "en" else {"other"}) for sentence in counted)


def test_every_word_asked_for_is_there():
    asked = set(re.findall(r'data-word(?:-label)?="([^"]+)"', HTML))
    for text in SCRIPTS.values():
        for inner in re.findall(r"\bword\(\s*([^,()]*)", text):  # word("key"  word(some ? "key" : "other"
            asked |= set(re.findall(r'(?:^|[?:])\s*"([\w.]+)"', inner))
    assert len(asked) > 80
    assert asked <= set(WORDS["en"])


def test_every_word_there_is_used():
    text = "\n".join([*SCRIPTS.values(), HTML])
    beginnings = tuple(re.findall(r"`([a-z]+\.(?:[a-z_]+\.)*)\$\{", text))  # `problem.${kind}`
    assert not [key for key in WORDS["en"] if f'"{key}"' not in text and not key.startswith(beginnings)]


def test_the_chinese_file_says_that_nobody_reviewed_it():
    assert "not clinically reviewed" in WORDS["zh"]["notice.language"]
    assert "未经临床审核" in WORDS["zh"]["notice.language"]


def test_the_disclaimer_is_chirons_own():
    assert f"{WORDS['en']['disclaimer.short']} {WORDS['en']['disclaimer.rest']}" == DISCLAIMER
    shown = re.sub(r"<[^>]+>", "", re.search(r'id="disclaimer".*?</p>', HTML).group()).split(">", 1)[1]
    assert shown == DISCLAIMER  # it stands there before any script has run


@pytest.mark.parametrize("banned", ["diagnos", "benign", "healthy", "safe", "clear", "no action", "✓", "✔"])
def test_words_promise_nothing(banned):
    for key, sentence in WORDS["en"].items():
        if key not in {"disclaimer.rest", "next.no_rule"}:  # "is not a diagnosis", "no all-clear"
            assert all(banned not in form.lower() for form in forms(sentence)), key


def test_nothing_is_inline_and_nothing_is_fetched_from_elsewhere():
    assert not re.search(r"<style|style=|<script(?![^>]*src=)| on\w+=", HTML)
    for name, text in {**SCRIPTS, "index.html": HTML}.items():
        assert not re.search(r"https?://", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", text), name
    for path in PAGE.iterdir():
        if path.name.endswith(".css"):
            assert not re.search(r"https?://|@import", path.read_text("utf-8")), path.name


def test_files_are_small_enough_to_read():
    assert all(len(text.splitlines()) <= 300 for text in SCRIPTS.values())
