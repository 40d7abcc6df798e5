"""What the page shows of an answer: output, trust, what to do next; held to the words of an honest result."""

import re

import pytest
from page_stand_in import OUTSIDE, card, each, experience, ok, out_of_scope, predicted, prediction, result, unreadable

pytestmark = pytest.mark.slow


def read(page, files) -> None:
    """Chooses files and asks for the output."""
    page.set_input_files("#files", files)
    page.click("#run-button")
    page.wait_for_selector(".result")


def shown(page) -> dict[str, float]:
    """Label -> probability, as the bars have them."""
    return dict(
        page.eval_on_selector_all(
            ".bars li",
            "all => all.map(it => [it.querySelector('.label').firstChild.data, +it.querySelector('data').value])",
        )
    )


def test_one_image(server, open_page, image_files):
    page = open_page(server.url)
    read(page, image_files[0])
    assert shown(page) == {"opacity": 0.0123, "normal": 1 - 0.0123}
    text = page.inner_text(".result").replace("\u00a0", " ")
    assert "opacity: no" in text
    assert "The score, 1.2 %, is below the threshold of 23.0 %" in text
    assert "most probable class" not in text  # it is that of the answer
    assert (
        "does not rule out “opacity”: of 48 test cases with it, 3 were answered no (6.3 %, 95 % interval 2.1 to 16.8 %)"
        in text
    )
    assert (
        "Of 9 test cases with “normal” named at 90 to 100 %, 8 were right: 88.9 % (95 % interval 56.5 to 98.0 %)"
        in text
    )
    assert (
        "Of 43 test cases with this answer to “opacity”, 40 were right: 93.0 % (95 % interval 81.4 to 97.6 %)" in text
    )
    assert "phantoms of the test split" in text
    assert "Classes that cannot be left out: normal. At most 10 % of such sets miss" in text
    assert "Calibrated probabilities" in text
    assert "no confidence interval" in text
    assert "0d1561fa14153bea" in text
    assert page.text_content("#disclaimer").startswith("Research use only.")


def test_names_of_files_are_not_sent(server, open_page, image_files):
    page = open_page(server.url)
    read(page, image_files[:2])
    [asked] = server.of("/api/predict")
    assert asked.num_files() == 2
    assert b"Jane" not in asked.body
    assert b"\x89PNG" in asked.body
    assert page.inner_text(".result figcaption") == "Jane Doe 0.png"  # a person still sees which image it is


def test_a_positive_answer_has_no_word_of_ruling_out(server, open_page, image_files):
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(0.3)))
    page = open_page(server.url)
    read(page, image_files[0])
    text = page.inner_text(".said").replace("\u00a0", " ")
    assert "opacity: yes" in text
    assert "has reached the threshold" in text
    assert "The most probable class is normal, 70.0 %" in text  # the threshold says yes, the larger half does not
    assert "rule out" not in text


def test_what_was_not_recorded_is_told(server, open_page, image_files):
    unknown = {"right": None, "of": None, "low": None, "high": None}
    other = experience("no") | {"question": "nodule"}  # whose misses are not those of this question
    answers = [[], [{**experience("no"), **unknown, "missed": unknown | {"missed": None}}, other]]
    server.answers["/api/predict"] = each(lambda k: result(k, experience=answers[k]))
    page = open_page(server.url)
    read(page, image_files[:2])
    first, second = page.locator(".result").all_inner_texts()
    assert "right was not recorded" not in second
    assert "were right was not recorded with this model" in first
    assert "does not rule out “opacity”. How many are missed was not recorded" in first
    assert "Fewer than 5 test cases had this answer" in second
    assert "does not rule out “opacity”. How many are missed was not recorded" in second


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([], "No class fits"),
        (["normal", "opacity"], "No class can be left out"),
        (["opacity"], "cannot be left out: opacity"),
    ],
)
def test_prediction_sets(server, open_page, image_files, held, words):
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(prediction_set=held)))
    page = open_page(server.url)
    read(page, image_files[0])
    assert words in page.inner_text(".trust")


def test_uncalibrated_probabilities_are_called_so(server, open_page, image_files):
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(calibrated=False)))
    page = open_page(server.url)
    read(page, image_files[0])
    assert "The network's own probabilities, not calibrated" in page.inner_text(".result")
    assert "not how often it is right" in page.inner_text(".trust")


def test_nothing_uncertain_is_shown_as_certain(server, open_page, image_files):
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(1e-7)))
    page = open_page(server.url)
    read(page, image_files[0])
    assert page.locator(".bars data").all_inner_texts() == ["<\u00a00.1\u00a0%", ">\u00a099.9\u00a0%"]


def test_the_spread_of_networks_is_called_so(server, open_page, image_files):
    spread = {"normal": [0.9, 0.999], "opacity": [0.001, 0.1]}
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(spread=spread)))
    page = open_page(server.url)
    read(page, image_files[0])
    text = page.inner_text(".result").replace("\u00a0", " ")
    assert "its networks: 0.1 % to 10.0 %" in text
    assert "It is no confidence interval" in text


def test_referral_with_its_reasons(server, open_page, image_files):
    refer = {"refer": True, "reasons": ["The prediction set holds two classes."]}
    none = {"refer": False, "reasons": []}
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(referral=[refer, none][k])))
    page = open_page(server.url)
    read(page, image_files[:2])
    first, second = page.locator(".next").all_inner_texts()
    assert "A person must decide." in first
    assert "The prediction set holds two classes." in first
    assert "A person must decide" not in second
    assert "That is no all-clear" in second


def test_out_of_scope_input_has_no_numbers_until_insisted(server, open_page, image_files):
    server.answers["/api/predict"] = lambda asked: ok(
        predicted(*[out_of_scope(k, shown=asked.field("insist") == "true") for k in range(asked.num_files())])
    )
    page = open_page(server.url)
    read(page, image_files[:2])
    first = page.locator("#result-0")
    assert page.locator(".bars").count() == 0
    numbers = re.findall(r"[\d.]+(?=\u00a0%)", first.inner_text())
    assert numbers == ["99.9", "23.0"]  # how unlike it is, and the model's own threshold
    assert "more unlike the images that the model was fitted on than 99.9" in first.inner_text()
    assert OUTSIDE in first.inner_text()
    assert "never tested on such images" in first.inner_text()
    assert first.locator(".next").inner_text().count("The image is out of scope.") == 1
    first.locator(".insist").click()
    page.wait_for_selector(".bars")
    assert page.locator(".bars").count() == 1  # the other image was not insisted on
    assert [asked.num_files() for asked in server.of("/api/predict")] == [2, 1]
    assert "Shown at your request" in first.inner_text()
    assert first.inner_text().count(OUTSIDE) == 1
    assert page.evaluate("document.activeElement.id") == "result-0"


def test_when_insisting_fails_it_is_told_there(server, open_page, image_files):
    server.answers["/api/predict"] = each(out_of_scope)
    page = open_page(server.url, mayfail=True)
    read(page, image_files[0])
    server.refuse("/api/predict", 503, "busy", "The server is busy.")
    page.click(".insist")
    page.wait_for_selector(".outside .problem")
    assert "The server is busy." in page.inner_text(".outside")


def test_a_file_that_is_no_image_does_not_stop_the_others(server, open_page, image_files):
    server.answers["/api/predict"] = each(lambda k: unreadable(k) if k == 1 else result(k))
    page = open_page(server.url)
    read(page, image_files)
    cards = page.locator(".result").all_inner_texts()
    assert "This image cannot be read" in cards[1]
    assert "Got other content in image 2" in cards[1]
    assert ["opacity: no" in card for card in cards] == [True, False, True]


def test_several_classes_and_a_question_over_them(server, open_page, image_files):
    names = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    values = dict(zip(names, (0.02, 0.04, 0.12, 0.01, 0.3, 0.5, 0.01), strict=True))
    asked = {"name": "malignant", "classes": ["mel", "bcc", "akiec"], "threshold": {"rule": "guaranteed", "value": 0.6}}
    asked["threshold"] |= {"low": None, "high": None, "sensitivity_promised": 0.95}
    skin = card(classes=[{"name": it, "description": ""} for it in names], positive=None, questions=[asked])
    server.answers["/api/models"] = ok({"models": [skin], "disclaimer": ""})
    decided = {"malignant": {"score": 0.36, "threshold": 0.6, "answer": "no"}}
    told = prediction(
        predicted_class="nv", confidence=0.5, probabilities=values, decisions=decided, prediction_set=["nv"]
    )
    server.answers["/api/predict"] = each(lambda k: result(k, told, experience=[]))
    page = open_page(server.url)
    read(page, image_files[0])
    assert page.locator(".headline .main").all_inner_texts() == ["nv", "malignant: no"]
    assert list(shown(page))[:4] == ["malignant", "nv", "mel", "bkl"]  # the question, then the most probable first
    assert shown(page) == {"malignant": 0.36, **values}
    assert page.locator(".more .bars li").count() == 2
    assert "does not rule out “malignant”" in page.inner_text(".said")
    assert "with 95 % confidence, at least 95 %" in page.inner_text(".trust").replace("\u00a0", " ")


def test_findings_of_which_several_may_be_present(server, open_page, image_files):
    several = card(several=True, positive=None, questions=[], prediction_sets=None)
    server.answers["/api/models"] = ok({"models": [several], "disclaimer": ""})
    told = {"probabilities": {"normal": 0.2, "opacity": 0.3}, "classes_above_half": [], "calibrated": False}
    server.answers["/api/predict"] = each(lambda k: result(k, told | {"disclaimer": ""}))
    page = open_page(server.url)
    read(page, image_files[0])
    text = page.inner_text(".said").replace("\u00a0", " ")
    assert "No finding reaches 50 %" in text
    assert "does not rule any finding out" in text
    assert "need not add up to 100 %" in text


def test_images_of_one_patient_get_one_output(server, open_page, image_files):
    server.answers["/api/models"] = ok({"models": [card(unit="patient")], "disclaimer": ""})
    server.answers["/api/predict"] = lambda asked: ok(
        predicted(result(0, prediction(0.1)), unreadable(1), unit=result(-1, prediction(0.4)))
        if asked.field("together") == "true"
        else predicted(result(0), result(1))
    )
    page = open_page(server.url)
    read(page, image_files[:2])
    assert page.locator(".result").count() == 2
    assert "This is the output for one image" in page.inner_text("#result-0")
    page.check("#together")
    page.click("#run-button")
    page.wait_for_selector("#result-together")
    assert page.locator(".result").count() == 1
    assert shown(page)["opacity"] == 0.4
    assert "This is the output for one image" not in page.inner_text(".result")
    page.click("summary:has-text('Each image by itself')")
    assert page.locator(".said .points li").all_inner_texts() == [
        "Image 1: opacity 10.0\u00a0%",
        "Image 2: This image cannot be read",
    ]


def test_two_models_side_by_side(server, open_page, image_files):
    second = card(
        name="other", bundle_id="ffff", explainer={"may_be_shown": False, "method": None, "words": "", "reasons": []}
    )
    server.answers["/api/models"] = ok({"models": [card(), second], "disclaimer": ""})
    scores = {"chest": 0.1, "other": 0.6}
    server.answers["/api/predict"] = lambda asked: ok(
        predicted(result(0, prediction(scores[asked.field("model")])), model=asked.field("model"))
    )
    page = open_page(server.url)
    page.select_option("#second", "other")
    read(page, image_files[0])
    assert page.locator(".headline .main").all_inner_texts() == ["opacity: no", "opacity: yes"]
    assert "The models do not say the same" in page.inner_text(".agreement")
    left, right = (page.locator(".output").nth(k).bounding_box() for k in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]
    scores["other"] = 0.2
    page.click("#run-button")
    page.wait_for_selector(".agreement:has-text('Both models say the same')")
    page.select_option("#second", "")
    page.click("#run-button")
    page.wait_for_selector(".agreement", state="detached")
    assert page.locator(".output").count() == 1


def test_what_comes_from_outside_is_text_and_never_markup(server, open_page, tmp_path):
    from PIL import Image

    evil = "<img src=x onerror=alert(1)>"
    server.answers["/api/models"] = ok({"models": [card(name=evil, warnings=[evil])], "disclaimer": ""})
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(predicted_class_description=evil)))
    path = tmp_path / "<img src=x>.png"
    Image.new("L", (30, 30)).save(path)
    page = open_page(server.url)
    read(page, path)
    assert page.locator("img[src='x']").count() == 0
    assert evil in page.inner_text(".kicker")


def test_pasted_and_dropped_images_are_taken(server, open_page):
    page = open_page(server.url)
    give = """kind => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(9)], kind === "paste" ? "" : "scan.dcm"));
      const event = kind === "paste" ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
                                     : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
      document.querySelector(".drop").dispatchEvent(event);
    }"""
    page.evaluate(give, "paste")
    page.evaluate(give, "drop")
    assert page.locator(".images li").count() == 2
    assert "pasted image" in page.inner_text(".images")
    page.wait_for_selector(".images .suffix:has-text('DCM')")  # no browser draws DICOM: a neutral tile
    page.click("[aria-label='Take out scan.dcm']")
    assert page.locator(".images li").count() == 1
