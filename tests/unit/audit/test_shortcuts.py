"""Shortcuts: what is planted is found by the right probe, clean sets raise no alarm, and the words are plain."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from audit_sets import make_set
from PIL import Image

from chiron.audit.facts import measure_images
from chiron.audit.shortcuts import find_shortcuts, revealing_sentences
from chiron.core.hashing import seed_of
from chiron.data.phantoms.cxr import draw_phantom_cxr
from chiron.data.phantoms.planted import Planted
from chiron.data.phantoms.write import write_phantoms
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource

ROLES = {
    "device": "technical", "hospital": "site", "day": "date", "age": "predictor", "dx_type": "reference_standard",
}  # fmt: skip


def chance(*names: object) -> float:
    return seed_of(*map(str, names)) / 2**63


def about(label: str, number: int) -> dict[str, object]:
    """Columns that say nothing of the label, but for dx_type."""
    group = number // 2
    return {
        "device": f"scanner {int(3 * chance('device', group))}",
        "hospital": None if chance("lost", group) < 0.2 else f"hospital {int(4 * chance('site', group))}",
        "day": f"2020-0{1 + int(9 * chance('month', group))}-1{int(10 * chance('day', group))}",
        "age": 20 + int(60 * chance("age", group)),
        "dx_type": "histo" if label == "sick" or chance("dx", number) < 0.3 else "follow_up",
    }


def keys(report) -> list[str]:
    return [result.key for result in report.technical if result.alarm]


@pytest.mark.parametrize("seed", range(2))
def test_a_clean_set_raises_no_alarm(tmp_path, seed):
    report = find_shortcuts(*make_set(tmp_path, columns=about, roles=ROLES, seed=seed))
    assert report.alarms == []
    tested = {result.key for result in report.technical if not result.is_constant}
    assert tested == {"border", "corners", "file_order", "column:device", "column:hospital", "column:day"}
    assert report.num_tests == len(tested)
    assert {result.key for result in report.trivial} == {"thumbnail", "histogram", "metadata"}
    json.dumps(report.to_json())


def in_color(pixels, label, number):
    image = Image.fromarray(pixels)
    return image.convert("RGB") if label == "sick" and chance("color", number // 2) < 0.7 else image


def framed(pixels, label, number):
    if label == "sick":
        pixels[:2] = 250
    return Image.fromarray(pixels)


def cornered(pixels, label, number):
    if (label == "sick") == (chance("mark", number) < 0.85):
        pixels[-3:, -3:] = 255
    return Image.fromarray(pixels)


def sized(pixels, label, number):
    side = 24 + (number % 2 if label == "sick" else 0)
    return Image.fromarray(pixels).resize((side, 24))


def smooth(pixels, label, number):
    return Image.fromarray((pixels // 16 * 16 if label == "sick" else pixels).astype(np.uint8))


@pytest.mark.parametrize(
    ("paint", "found", "perhaps"),
    [
        (in_color, {"color_mode"}, {"file_size"}),
        (framed, {"border"}, {"corners", "file_size"}),
        (cornered, {"corners"}, {"border"}),
        (sized, {"image_size", "aspect"}, {"file_size"}),
        (smooth, {"file_size"}, {"border", "corners"}),
    ],
)
def test_what_is_planted_in_files_and_frames_is_found(tmp_path, paint, found, perhaps):
    alarms = set(keys(find_shortcuts(*make_set(tmp_path, paint=paint))))
    assert found <= alarms <= found | perhaps


@pytest.mark.parametrize("column", ["device", "hospital", "day"])
def test_technical_columns_are_probed_with_missing_as_a_value(tmp_path, column):
    def planted(label, number):
        told = about(label, number)
        if label == "sick" and chance("follows", number // 2) < 0.8:
            told[column] = {"device": "scanner 9", "hospital": None, "day": "2021-12-24"}[column]
        return told

    report = find_shortcuts(*make_set(tmp_path, columns=planted, roles=ROLES))
    assert keys(report) == [f"column:{column}"]
    if column == "device":
        first = report.one_class_values[0]
        assert (first.column, first.value, first.name) == ("device", "scanner 9", "sick")
        assert report.alarms[0].startswith(
            "From the column device (technical) alone, well can be told from sick: AUROC"
        )
        assert "scanner 9 stands in" in report.alarms[0]
        assert report.alarms[0].endswith("groups, all of them sick.")


def test_a_device_of_one_class_is_an_alarm_below_an_auroc_of_060(tmp_path):
    manifest, facts = make_set(tmp_path, count=560, side=8)
    rest = manifest.frame.with_columns(pl.lit("scanner 1").alias("device"))
    for groups, expected in ((24, ["column:device"]), (12, [])):
        own = rest.filter(pl.col("label") == "sick")["group_id"].unique(maintain_order=True).head(groups)
        device = pl.when(pl.col("group_id").is_in(own.implode())).then(pl.lit("scanner 9")).otherwise("device")
        planted = replace(manifest, frame=rest.with_columns(device.alias("device")), roles={"device": "technical"})
        report = find_shortcuts(planted, facts)
        (device_probe,) = (result for result in report.technical if result.key == "column:device")
        assert 0.5 < device_probe.low < device_probe.auroc < 0.6
        assert keys(report) == expected
        assert report.one_class_values[0].num_groups == groups


def test_a_column_without_a_role_is_never_looked_at(tmp_path):
    manifest, facts = make_set(tmp_path, columns=lambda label, number: {"device": label})
    assert find_shortcuts(manifest, facts).alarms == []
    assert keys(find_shortcuts(replace(manifest, roles={"device": "technical"}), facts)) == ["column:device"]


def test_a_column_of_the_reference_standard_is_named_and_is_neither_alarm_nor_floor(tmp_path):
    report = find_shortcuts(*make_set(tmp_path, columns=about, roles=ROLES))
    assert [result.key for result in report.revealing] == ["column:dx_type"]
    (sentence,) = revealing_sentences(report)
    assert sentence.startswith("The column dx_type says how the label was made and would reveal it (AUROC 0.")
    assert "follow_up stands in" in sentence
    assert "all of them well" in sentence


def test_the_order_of_files_is_found_and_a_class_in_the_name_is_not(tmp_path):
    manifest, facts = make_set(tmp_path)
    order = np.argsort(manifest.frame["label"].to_numpy(), kind="stable")
    by_class = manifest.frame[order].with_row_index("row")
    sorted_names = by_class.with_columns(("x_" + pl.col("row").cast(pl.String)).alias("sample_id")).drop("row")
    assert keys(find_shortcuts(replace(manifest, frame=sorted_names), facts.rows(order))) == ["sample_number"]
    named = manifest.frame.with_columns((pl.col("label") + "_" + pl.col("sample_id")).alias("sample_id"))
    assert find_shortcuts(replace(manifest, frame=named), facts).alarms == []


def test_the_order_of_rows_has_no_influence(tmp_path):
    manifest, facts = make_set(tmp_path, columns=about, roles=ROLES, paint=cornered)
    order = np.random.default_rng(0).permutation(manifest.frame.height)
    shuffled = find_shortcuts(replace(manifest, frame=manifest.frame[order]), facts.rows(order))
    assert shuffled == find_shortcuts(manifest, facts)


def test_rows_of_test_are_not_looked_at(tmp_path):
    manifest, facts = make_set(tmp_path, count=240, columns=lambda label, number: {"device": label})
    groups = manifest.frame["group_id"].to_list()
    splits = ["test" if int(group[1:]) % 3 == 0 else "train" for group in groups]
    clean = [about(label, k)["device"] for k, label in enumerate(manifest.frame["label"])]
    device = [d if s == "test" else c for d, c, s in zip(manifest.frame["device"], clean, splits, strict=True)]
    frame = manifest.frame.with_columns(pl.Series("split", splits), pl.Series("device", device))
    manifest = replace(manifest, frame=frame, roles={"device": "technical"})
    report = find_shortcuts(manifest, facts)
    assert report.alarms == []
    assert (report.num_images, report.rows) == (
        splits.count("train"),
        "labeled images of train and val, and those without a split",
    )
    assert keys(find_shortcuts(replace(manifest, frame=frame.with_columns(pl.lit("test").alias("split"))), facts)) == [
        "column:device"
    ]


def test_three_classes_are_tested_one_by_one_and_rare_ones_are_named(tmp_path):
    manifest, facts = make_set(
        tmp_path,
        count=240,
        classes=("a", "b", "c"),
        paint=lambda p, label, k: framed(p, "sick" if label == "c" else "", k),
    )
    report = find_shortcuts(manifest, facts)
    border = next(result for result in report.technical if result.key == "border")
    assert [found.name for found in border.classes] == ["a", "b", "c"]
    assert border.alarm.startswith("From the image border alone, c can be told from the other classes: AUROC 1.00")
    assert border.auroc == pytest.approx(np.mean([found.value for found in border.classes]))
    few = manifest.frame.with_columns(
        pl.when(pl.col("label") == "a").then(pl.lit("b")).otherwise("label").alias("label")
    )
    few = few.with_columns(pl.when(pl.col("group_id") < "g008").then(pl.lit("a")).otherwise("label").alias("label"))
    report = find_shortcuts(replace(manifest, frame=few), facts)
    assert report.untested_classes == ("a",)


def test_too_few_groups_test_nothing_and_say_so(tmp_path):
    report = find_shortcuts(*make_set(tmp_path, count=24, paint=framed))
    assert (report.alarms, report.num_tests, report.untested_classes) == ([], 0, ("sick", "well"))


def test_several_labels_an_image_are_tested_where_they_are_known(tmp_path):
    manifest, facts = make_set(tmp_path, paint=framed)
    sick = (manifest.frame["label"] == "sick").cast(pl.Int8)
    other = pl.Series([int(chance("other", k // 2) < 0.5) if k % 7 else None for k in range(160)], dtype=pl.Int8)
    frame = manifest.frame.drop("label").with_columns(sick.alias("label_sick"), other.alias("label_other"))
    report = find_shortcuts(replace(manifest, frame=frame, classes=("sick", "other")), facts)
    border = next(result for result in report.technical if result.key == "border")
    assert [(found.name, found.adjusted_p < 0.05) for found in border.classes] == [("sick", True), ("other", False)]
    assert border.alarm.startswith(
        "From the image border alone, images with sick can be told from those without: AUROC 1.00"
    )
    rare = pl.when(pl.col("group_id") < "g004").then(1).otherwise(0).cast(pl.Int8).alias("label_other")
    report = find_shortcuts(replace(manifest, frame=frame.with_columns(rare), classes=("sick", "other")), facts)
    assert report.untested_classes == ("other",)
    alone = replace(manifest, frame=frame.drop("label_other"), classes=("sick",))
    report = find_shortcuts(alone, facts)
    assert "border" in keys(report)
    assert report.untested_classes == ()


def test_volumes_of_unequal_size_are_probed(tmp_path):
    manifest, facts = make_set(tmp_path, count=240, columns=lambda label, number: {"device": label})
    cuts = np.cumsum(np.repeat(np.arange(1, 16), 2))  # two volumes of every size from 1 to 15
    volume = np.searchsorted(cuts, np.arange(240), side="right")
    sick = (np.random.default_rng(0).permutation(30) < 15)[volume]
    label = pl.Series("label", np.where(sick, "sick", "well"))
    group = pl.Series("group_id", [f"v{number:02d}" for number in volume])
    frame = manifest.frame.with_columns(label, group, label.alias("device"))
    report = find_shortcuts(replace(manifest, frame=frame, roles={"device": "technical"}), facts)
    assert keys(report) == ["column:device"]


def test_a_corner_mark_in_phantoms_is_found_by_the_corners(tmp_path):
    phantoms = draw_phantom_cxr(num_images=120, img_size=32, seed=3, planted=Planted(shortcut="corner_marker"))
    write_phantoms(phantoms, tmp_path / "data", layout="manifest")
    manifest = read_dataset(tmp_path / "data")
    report = find_shortcuts(manifest, measure_images(ImageSource(manifest.root), manifest.frame))
    assert "corners" in keys(report)
