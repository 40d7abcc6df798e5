"""The page as `chiron serve` serves it: real bundle, real pictures, real answers."""

import io
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from dicom_files import SECRETS, dicom_file
from PIL import Image

import chiron

pytestmark = pytest.mark.slow
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def address(trained_run):
    """A running server of the run's bundle."""
    command = [
        sys.executable,
        "-m",
        "chiron.cli.main",
        "serve",
        str(trained_run.path),
        "--port",
        "0",
        "--device",
        "cpu",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        yield re.search(r"http://\S+", process.stdout.readline()).group() + "/"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def encoded(kind: str, suffix: str, random) -> tuple[str, bytes]:
    """An image of each kind that must give the same by every road."""
    stream = io.BytesIO()
    gray = random.integers(0, 256, (40, 50), dtype=np.uint8)
    if kind.startswith("MONOCHROME"):
        values = random.integers(0, 4096, (40, 50), dtype=np.uint16)
        how = {"bits_stored": 12, "kind": kind, "WindowCenter": 2000, "WindowWidth": 3000}
        return f"scan.{suffix}", dicom_file(values, **how)
    if kind == "png16":
        Image.fromarray(random.integers(0, 65536, (40, 50), dtype=np.uint16)).save(stream, "PNG")
    elif kind == "cmyk":
        Image.fromarray(random.integers(0, 256, (40, 50, 4), dtype=np.uint8), "CMYK").save(stream, "JPEG")
    elif kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(gray).save(stream, "JPEG", exif=exif)
    else:
        Image.fromarray(gray).save(stream, "PNG")
    return f"picture.{suffix}", stream.getvalue()


KINDS = {"png": "png", "png16": "png", "exif": "jpg", "cmyk": "jpg", "MONOCHROME1": "dcm", "MONOCHROME2": "dcm"}


def test_the_page_shows_what_the_classifier_says(address, open_page, trained_run, random, tmp_path):
    classifier = chiron.load(trained_run.path)
    made = [encoded(kind, suffix, random) for kind, suffix in KINDS.items()]
    files = [{"name": name, "mimeType": "", "buffer": data} for name, data in made]
    page = open_page(address)
    page.set_input_files("#files", files)
    with page.expect_response("**/api/predict") as answer:
        page.click("#run-button")
    page.wait_for_selector(f"#result-{len(made) - 1}")
    told = [result["prediction"].get("probabilities") for result in answer.value.json()["results"]]
    for place in (place for place, values in enumerate(told) if values is None):  # unlike the training images
        with page.expect_response("**/api/predict") as answer:
            page.click(f"#result-{place} .insist")
        told[place] = answer.value.json()["results"][0]["prediction"]["probabilities"]
        page.wait_for_selector(f"#result-{place} .bars")
    for place, (kind, (_, data)) in enumerate(zip(KINDS, made, strict=True)):
        bars = page.locator(f"#result-{place} .bars li").all()
        shown = {bar.locator(".label").inner_text(): bar.locator("data") for bar in bars}
        eager = classifier.predict(data).probabilities
        assert shown.keys() == eager.keys() == told[place].keys()
        for name, bar in shown.items():
            value = float(bar.get_attribute("value"))
            assert value == told[place][name], kind
            assert abs(value - eager[name]) <= TOLERANCE, kind
            assert abs(float(bar.inner_text().rstrip("\u00a0%").lstrip("<>\u00a0")) / 100 - value) <= 0.0005 + 1e-9
    assert page.locator("#result-4 .tile .suffix").inner_text() == "DCM"
    assert not any(secret in page.content() for secret in SECRETS)


def test_a_session_of_a_person(address, open_page, trained_run, tmp_path):
    """Result, saving, another language, a file that is no image: `open_page` allows no other host and no complaint."""
    image = next((trained_run.path.parent / "data").rglob("*.png"))
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no image")
    page = open_page(address)
    assert chiron.load(trained_run.path).bundle_id in page.inner_text("#about")
    page.set_input_files("#files", [image, broken])
    page.click("#run-button")
    page.wait_for_selector("#result-1")
    if page.locator("#result-0 .insist").count():  # an image of the training may lie outside the scope
        page.click("#result-0 .insist")
        page.wait_for_selector("#result-0 .bars")
    assert "does not rule out" in page.inner_text("#result-0") or ": yes" in page.inner_text("#result-0")
    assert "This image cannot be read" in page.inner_text("#result-1")
    with page.expect_download() as download:
        page.click("#result-0 [data-save=txt]")
    assert chiron.load(trained_run.path).bundle_id in download.value.path().read_text("utf-8")
    page.click("[data-language=zh]")
    page.wait_for_selector("html[lang=zh]")
    assert page.locator(".result").count() == 2


def test_an_image_with_nothing_in_it_has_no_numbers_until_insisted(address, open_page, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("L", (64, 64), 90).save(blank)
    page = open_page(address)
    page.set_input_files("#files", blank)
    page.click("#run-button")
    page.wait_for_selector(".outside")
    assert "There is nothing to be seen in it" in page.inner_text(".outside")
    assert page.locator(".bars").count() == 0
    assert "A person must decide." in page.inner_text(".next")
    page.click(".insist")
    page.wait_for_selector(".bars")
    assert "Shown at your request" in page.inner_text(".insisted")


def test_only_unreadable_files_are_refused_in_one_sentence(address, open_page, tmp_path):
    path = tmp_path / "notes.svg"
    path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    page = open_page(address, mayfail=True)
    page.set_input_files("#files", path)
    page.click("#run-button")
    page.wait_for_selector("#run .problem")
    assert "None of these files can be read as an image." in page.inner_text("#run")
    assert page.locator(".images li").count() == 1
