"""The failures: drawn at random or the most confident, never picked, and with no more than their pixels."""

import base64
import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chiron.data.predictions import Predictions
from chiron.data.reading import read_dataset
from chiron.report.gallery import MOST_SHOWN, SIDE_PX, make_gallery, thumbnail
from chiron.report.page import render_report
from chiron.report.sentences import failures


def table_of(num_rows=60, classes=("a", "b", "c"), seed=0, names=None):
    """Every second row is wrong."""
    random = np.random.default_rng(seed)
    y_true = random.integers(0, len(classes), num_rows)
    answer = np.where(np.arange(num_rows) % 2, y_true, (y_true + 1) % len(classes))
    logits = random.normal(size=(num_rows, len(classes)))
    logits[np.arange(num_rows), answer] += 6
    frame = pl.DataFrame(
        {
            "sample_id": names or [f"s{k}" for k in range(num_rows)],
            "y_true": [classes[k] for k in y_true],
            "status": ["ok"] * num_rows,
            **{f"logit_{name}": logits[:, k] for k, name in enumerate(classes)},
        }
    )
    return Predictions(frame, classes)


def test_errors_are_counted_and_both_kinds_shown():
    table = table_of()
    found = make_gallery(table, None)
    wrong = set(table.scored["sample_id"].to_list()[::2])
    assert (found.num_errors, found.num_images) == (30, 60)
    assert len(found.random) == len(found.confident) == MOST_SHOWN
    assert {it.sample_id for it in (*found.random, *found.confident)} <= wrong
    assert all(it.output != it.reference and it.probability > it.reference_probability for it in found.random)
    words = failures(found)
    assert "30 errors of 60 images" in words["lead"].replace("\u00a0", " ")
    assert "12 of 30 errors of 60 images" in words["random"].replace("\u00a0", " ")


def test_random_errors_are_not_the_confident_ones_and_follow_the_ids_alone():
    table = table_of(num_rows=400)
    found = make_gallery(table, None)
    turned = Predictions(table.frame.reverse(), table.classes)
    assert make_gallery(turned, None) == found
    ranks = sorted(make_gallery(table_of(num_rows=400, seed=1), None).random, key=lambda it: it.sample_id)
    assert {it.sample_id for it in ranks} == {it.sample_id for it in found.random}  # whatever the scores are
    assert len({it.sample_id for it in found.random} & {it.sample_id for it in found.confident}) < MOST_SHOWN / 2


def test_the_most_confident_error_of_each_class_comes_first():
    found = make_gallery(table_of(num_rows=400), None)
    assert {it.reference for it in found.confident[:3]} == {"a", "b", "c"}
    by_class = [[it.probability for it in found.confident if it.reference == name] for name in "abc"]
    assert all(of == sorted(of, reverse=True) for of in by_class)


def test_few_errors_are_all_shown_once():
    found = make_gallery(table_of(num_rows=10), None)
    assert (found.random, len(found.confident)) == ([], 5)
    assert failures(found)["confident"].startswith("All 5")


def test_no_error_is_said(binary, context_of):
    table = table_of(num_rows=10)
    right = Predictions(table.frame.filter(pl.int_range(10) % 2 == 1), table.classes)
    found = make_gallery(right, None)
    assert "0 errors of 5 images" in failures(found)["lead"].replace("\u00a0", " ")
    assert "<h3>Most confident" not in render_report(binary, context_of(), gallery=found)


def test_pictures_come_through_the_manifest_and_only_unchanged(class_folders, binary, context_of):
    manifest = read_dataset(class_folders)
    table = table_of(num_rows=40, names=manifest.frame["sample_id"].to_list())
    found = make_gallery(table, manifest)
    assert found.num_missing == 0
    assert all(it.picture.startswith("data:image/jpeg;base64,") for it in (*found.random, *found.confident))
    html = render_report(binary, context_of(), gallery=found)
    assert html.count("<img ") == 2 * MOST_SHOWN
    assert len(html) < 1_500_000
    shown = {it.sample_id for it in (*found.random, *found.confident)}
    for path in class_folders.rglob("*.png"):
        Image.new("L", (40, 40), 7).save(path)
    changed = make_gallery(table, manifest)
    assert changed.num_missing == len(shown)
    assert "it has changed since" in failures(changed)["pictures"]
    page = render_report(binary, context_of(), gallery=changed)
    assert "<img " not in page
    assert '<table class="errors">' in page


def test_a_data_set_that_is_gone_leaves_the_table(class_folders):
    manifest = read_dataset(class_folders)
    table = table_of(num_rows=40, names=manifest.frame["sample_id"].to_list())
    class_folders.rename(class_folders.with_name("elsewhere"))
    found = make_gallery(table, manifest)
    assert found.num_missing
    assert not any(it.picture for it in found.random)


@pytest.mark.parametrize("shape", [(600, 300, 1), (300, 500, 3), (28, 28, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_thumbnails_are_small_jpegs_of_pixels_alone(random, shape, kind):
    uri = thumbnail(random.integers(0, np.iinfo(kind).max, shape).astype(kind))
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert max(image.size) == min(SIDE_PX, max(shape))
        assert not image.getexif()
        assert not {"exif", "comment", "icc_profile", "xmp"} & set(image.info)
    assert len(data) < 60_000


def test_deep_images_are_stretched_to_their_range():
    deep = np.linspace(1000, 2000, 64 * 64).reshape(64, 64, 1).astype(np.uint16)
    data = base64.b64decode(thumbnail(deep).split(",")[1])
    low, high = Image.open(io.BytesIO(data)).getextrema()
    assert low < 10
    assert high > 245
