"""Quality: each flag is raised by what it is for, counted by class and split, and drops nothing."""

import json

import numpy as np
import pytest
from audit_sets import make_set
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from chiron.audit.facts import measure_images
from chiron.audit.quality import FLAGS, check_quality, modified_z
from chiron.data.source import ImageSource


def strange(pixels: np.ndarray, label: str, number: int) -> Image.Image:
    image = Image.fromarray(pixels)
    made = {
        0: lambda: Image.new("L", image.size, 7),
        1: lambda: Image.fromarray((pixels // 8).astype(np.uint8)),
        2: lambda: Image.fromarray((255 - pixels // 8).astype(np.uint8)),
        3: lambda: image.filter(ImageFilter.GaussianBlur(2)),
        4: lambda: image.resize((200, 40)),
        5: lambda: image.resize((10, 10)),
        6: lambda: image.convert("RGB"),
        7: lambda: Image.fromarray(pixels.astype(np.uint16) * 257),
    }
    return made.get(number, lambda: image)()


@pytest.fixture
def found(tmp_path):
    manifest, facts = make_set(tmp_path, paint=strange, side=40)
    return manifest, check_quality(manifest, facts)


def test_each_flag_names_its_image_and_no_other(found):
    manifest, report = found
    flags = [report.flags.get(name, ()) for name in manifest.frame["sample_id"]]
    assert "blank" in flags[0]
    joined = ["dark", "bright", "blurred", "odd_aspect", "tiny,blurred", "mixed_color_mode", "mixed_bit_depth"]
    assert [",".join(found) for found in flags[1:8]] == joined
    assert not any(flags[8:])
    assert set(report.counts) == set(FLAGS) - {"unreadable"}


def test_counts_and_the_column_agree_and_nothing_is_dropped(found):
    manifest, report = found
    column = report.column(manifest.frame["sample_id"].to_list())
    assert (len(column), column.name) == (manifest.frame.height, "quality")
    flagged = [name for name in manifest.frame["sample_id"] if name in report.flags]
    assert [text for text in column if text] == [",".join(report.flags[name]) for name in flagged]
    for flag, total in report.counts.items():
        assert sum(report.by_class[flag].values()) == sum(report.by_split[flag].values()) == total
    assert report.by_class["bright"] == {manifest.frame["label"][2]: 1}
    modes, depths = "Images differ in color mode: gray 159, RGB 1.", "Images differ in bit depth: 8 159, 16 1."
    assert report.sentences[:2] == [modes, depths]
    assert "3 sizes, the most frequent is 40 x 40 (158 of 160)" in report.sentences[2]
    json.dumps(report.to_json())


def test_an_unreadable_image_is_flagged_and_an_even_set_is_not(tmp_path):
    manifest, _ = make_set(tmp_path, count=20)
    (tmp_path / manifest.frame["path"][2]).write_bytes(b"x")
    report = check_quality(manifest, measure_images(ImageSource(tmp_path), manifest.frame))
    assert report.flags == {manifest.frame["sample_id"][2]: ("unreadable",)}
    assert report.sentences == []


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=30), st.floats(-3, 3))
def test_outlyingness_does_not_depend_on_where_zero_is(values, shift):
    one, other = modified_z(np.array(values)), modified_z(np.array(values) + shift)
    assert one == pytest.approx(other, abs=1e-6, rel=1e-6)


def test_missing_values_are_no_outliers():
    assert np.isnan(modified_z(np.array([np.nan, np.nan]))).all()
    assert np.isnan(modified_z(np.array([1.0, np.nan, 3.0]))).tolist() == [False, True, False]
