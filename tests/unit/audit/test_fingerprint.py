"""Fingerprint and proposed recipe: numbers equal numpy's, proposals pass `chiron check` and follow the data."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from audit_sets import make_set
from PIL import Image

from chiron.audit.fingerprint import fingerprint
from chiron.audit.propose import propose_recipe
from chiron.workflows.check import check_recipe, recipe_warnings


def tinted(pixels: np.ndarray, label: str, number: int) -> Image.Image:
    return Image.merge("RGB", [Image.fromarray(channel) for channel in (pixels, pixels // 2, pixels // 4)])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    manifest, facts = make_set(
        folder, count=40, side=64, paint=tinted, columns=lambda label, k: {"age": None if k < 3 else k}
    )
    return manifest, facts, fingerprint(manifest, facts)


def test_numbers_equal_those_of_numpy(found):
    manifest, _, prints = found
    pixels = np.stack([np.asarray(Image.open(manifest.root / path)) for path in manifest.frame["path"]]) / 255
    assert prints.channel_mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-4)
    assert prints.channel_std == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-4)
    assert prints.widths == (64,) * 7
    assert prints.aspects == (1,) * 7
    assert (prints.class_images, prints.class_groups) == ({"sick": 20, "well": 20}, {"sick": 10, "well": 10})
    assert (prints.num_groups, prints.largest_group, prints.imbalance) == (20, 2, 1)
    assert (prints.missing, prints.gray_share) == ({"age": 3}, 0)
    assert (prints.color_modes, prints.bit_depths, prints.file_formats) == ({"RGB": 40}, {"8": 40}, {"PNG": 40})
    json.dumps(prints.to_json())


def test_gray_values_come_from_train_alone(found):
    manifest, facts, _ = found
    frame = manifest.frame.with_columns(pl.Series("split", ["train"] + ["test"] * 39))
    alone = fingerprint(replace(manifest, frame=frame), facts)
    pixels = np.asarray(Image.open(manifest.root / manifest.frame["path"][0])) / 255
    assert alone.channel_mean == pytest.approx(pixels.mean(axis=(0, 1)), abs=1e-4)


CHANGES = {
    "plain": (
        {},
        {
            "model.name": "chiron_h_coatnet_nano",
            "input.resize": "squash",
            "data.folds": 5,
            "train.class_weights": "none",
        },
    ),
    "gray": ({"gray_share": 1.0}, {"input.in_chans": 1}),
    "wide": ({"aspects": (0.5, 0.6, 1, 1, 1, 1.6, 3)}, {"input.resize": "letterbox"}),
    "deep": ({"bit_depths": {"16": 39, "8": 1}}, {"input.bit_depth": 16}),
    "uneven": ({"imbalance": 4.0}, {"train.class_weights": "balanced", "train.sampler": "none"}),
    "very uneven": ({"imbalance": 40.0}, {"train.sampler": "balanced", "train.class_weights": "none"}),
    "few groups": ({"class_groups": {"sick": 7, "well": 900}}, {"data.folds": 3, "data.fold": 0}),
    "too few": ({"class_groups": {"sick": 3, "well": 900}}, {"data.folds": None}),
    "many": (
        {
            "num_images": 60_000,
            "class_groups": {"sick": 900, "well": 900},
            "widths": (512.0,) * 7,
            "heights": (512.0,) * 7,
        },
        {
            "model.name": "chiron_h_coatnet",
            "input.img_size": 224,
            "data.folds": None,
            "train.epochs": 10,
            "train.batch_size": 64,
        },
    ),
    "small pictures": ({"widths": (28.0,) * 7, "heights": (28.0,) * 7}, {"input.img_size": 64}),
    "own test": (
        {"splits": {"train": 30, "test": 10}},
        {"data.folds": None, "data.fractions": {"train": 0.85, "val": 0.15}},
    ),
    "broken": ({"num_unreadable": 2}, {"data.unreadable": "exclude"}),
    "chest": ({"reader": "kermany"}, {"augment.hflip": 0, "augment.vflip": 0}),
    "skin": ({"reader": "ham10000"}, {"augment.hflip": 0.5, "augment.rot90": 1.0}),
    "three classes": (
        {
            "class_images": {"a b": 9, "ä: #": 9, "c'\\\\": 9},
            "class_groups": dict.fromkeys(["a b", "ä: #", "c'\\\\"], 60),
        },
        {"labels.positive": None},
    ),
    "odd names": ({"class_images": {"yes": 9, "#1: 'x'": 9}}, {"labels.positive": None}),
}


@pytest.mark.parametrize("case", CHANGES)
def test_every_proposal_passes_the_check_and_follows_the_data(found, tmp_path, case):
    changes, expected = CHANGES[case]
    proposed = propose_recipe(replace(found[2], **changes))
    path = tmp_path / "proposed.yaml"
    path.write_text(proposed.yaml, encoding="utf-8")
    checked = check_recipe(str(path))
    assert checked == proposed.recipe
    assert recipe_warnings(checked) == []
    values = checked.model_dump(mode="json")
    for key, value in expected.items():
        section, name = key.split(".")
        assert values[section][name] == value, key
    json.dumps(proposed.to_json())


def test_every_key_stands_below_its_reason_and_the_class_of_interest_is_left_to_the_person(found, tmp_path):
    proposed = propose_recipe(found[2])
    lines = proposed.yaml.splitlines()
    for setting in proposed.settings[1:]:
        key = setting.key.split(".")[1]
        below = lines.index(f"  # {setting.reason}", 0) + 1
        assert setting.reason.endswith((".", ")"))
        assert any(line.startswith(f"  {key}: ") for line in lines[below:])
    assert '#   positive: "sick"  # or "well"' in lines
    named = proposed.yaml.replace("# labels:", "labels:").replace('#   positive: "sick"', '  positive: "sick"')
    (tmp_path / "named.yaml").write_text(named)
    assert check_recipe(str(tmp_path / "named.yaml")).labels.positive == "sick"
