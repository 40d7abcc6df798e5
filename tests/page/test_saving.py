"""Saved results carry bundle, date, threshold and disclaimer, and no name of a file."""

import json
from datetime import datetime

import numpy as np
import pytest
from page_stand_in import card, each, ok, out_of_scope, predicted, prediction, result
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture
def save(tmp_path):
    def saved(page, kind, *, within=".foot-of-result"):
        with page.expect_download() as download:
            page.click(f"{within} [data-save={kind}]")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    return saved


def read(page, files) -> None:
    page.set_input_files("#files", files)
    page.click("#run-button")
    page.wait_for_selector(".result")


def test_text(server, open_page, image_files, save):
    page = open_page(server.url)
    read(page, image_files[0])
    path = save(page, "txt")
    when = datetime.fromisoformat("2026-11-22T14:07:27+00:00").astimezone()
    assert path.name == f"chiron_result_{when:%Y%m%d_%H%M%S}_1.txt"
    text = path.read_text("utf-8").replace("\u00a0", " ")
    for words in (
        "Research use only. Chiron is not a medical device",
        "Model output: opacity: no",
        "does not rule out “opacity”: of 48 test cases with it, 3 were answered no",
        "opacity: 1.2 % (0.012300)",
        "Bundle: 0d1561fa14153bea",
        "Threshold: opacity 23.0 %",
        "Date: 22 Nov 2026",
        "Made with: Chiron 0.1.0",
        "Of 43 test cases",
    ):
        assert words in text
    assert "Jane" not in text


def test_data(server, open_page, image_files, save):
    page = open_page(server.url)
    read(page, image_files[:2])
    one = json.loads(save(page, "json", within="#result-1").read_text())
    assert one["results"][0][0]["result"] == result(1)
    both = json.loads(save(page, "json", within=".results-head").read_text())
    assert [parts[0]["result"]["index"] for parts in both["results"]] == [0, 1]
    said = both["results"][0][0]
    assert said["bundle_id"] == "0d1561fa14153bea"
    assert said["time"] == "2026-11-22T14:07:27+00:00"
    assert said["questions"] == card()["questions"]
    assert "not a medical device" in both["shown"]
    assert "Jane" not in json.dumps(both)


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_picture_with_and_without_the_image(server, open_page, image_files, save, tmp_path):
    marked = tmp_path / "marked.png"
    Image.new("RGB", (64, 64), (200, 30, 120)).save(marked)
    page = open_page(server.url, color_scheme="dark")
    read(page, [marked, marked])
    file = Image.open(save(page, "png", within="#result-0"))
    assert file.format == "PNG"
    assert file.width == 2400
    assert not file.info.keys() & {"Comment", "Author", "exif"}
    withit = np.asarray(file.convert("RGB")).astype(int)
    assert (withit[0, 0] == 255).all()  # black on white in a dark scheme too
    share = (np.abs(withit - (200, 30, 120)).max(axis=2) < 4).mean()
    assert share > 0.05
    page.uncheck("#result-1 .with-image")
    assert not page.is_checked("#result-0 .with-image")  # one choice for all
    without = pixels(save(page, "png", within="#result-0"))
    assert not (np.abs(without - (200, 30, 120)).max(axis=2) < 4).any()
    assert (without.min(axis=2) < 100).mean() > 0.01  # words are there


def test_the_picture_shows_the_score_and_the_threshold(server, open_page, image_files, save):
    """The bar of a score of one half is half as long as that of the other class's."""
    server.answers["/api/predict"] = each(lambda k: result(k, prediction(0.25)))
    page = open_page(server.url)
    read(page, image_files[0])
    page.uncheck(".with-image")
    drawn = pixels(save(page, "png"))
    long = {
        name: (np.abs(drawn - color).max(axis=2) == 0).sum(axis=1).max()
        for name, color in (("asked", (0, 105, 166)), ("other", (127, 169, 198)))
    }
    whole = 2 * (1200 - 2 * 56)
    assert abs(long["asked"] / whole - 0.25) < 0.01
    assert abs(long["other"] / whole - 0.75) < 0.01


def test_two_models_and_chinese_are_saved_as_shown(server, open_page, image_files, save):
    server.answers["/api/models"] = ok({"models": [card(), card(name="other")], "disclaimer": ""})
    server.answers["/api/predict"] = lambda asked: ok(predicted(result(0), model=asked.field("model")))
    page = open_page(server.url, locale="zh-CN")
    page.select_option("#second", "other")
    read(page, image_files[0])
    text = save(page, "txt").read_text("utf-8")
    assert "not clinically reviewed" in text
    assert "chest (chiron_fair_cnn_nano)" in text
    assert "other (chiron_fair_cnn_nano)" in text
    assert Image.open(save(page, "png")).width == 2400


def test_out_of_scope_is_saved_without_numbers(server, open_page, image_files, save):
    server.answers["/api/predict"] = each(out_of_scope)
    page = open_page(server.url)
    read(page, image_files[0])
    text = save(page, "txt").read_text("utf-8")
    assert "Outside what this model was made for" in text
    assert "Calibrated probabilities" not in text
    assert "probabilities" not in json.loads(save(page, "json").read_text())["results"][0][0]["result"]["prediction"]
    assert Image.open(save(page, "png")).width == 2400
