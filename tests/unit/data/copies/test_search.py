"""Copies found while a data set is read: they join groups, are leaks across splits, and obey verdicts."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chiron.audit.leaks import COPY, POSSIBLE_COPY, find_leaks, require_no_leaks
from chiron.core.errors import LeakError
from chiron.data.copies import search
from chiron.data.copies.pairs import CopyPair
from chiron.data.manifest import Manifest
from chiron.data.reading import read_dataset


def scene(seed: int, side: int = 120) -> Image.Image:
    """A picture with structure at all scales, unlike that of any other seed."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((side, side))
    for cells in (4, 8, 16, 32):
        noise = Image.fromarray(random.normal(0, 1, (cells, cells)).astype(np.float32))
        pixels += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC)) * 20
    return Image.fromarray((128 + pixels).clip(0, 255).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    """24 pictures in two classes; `sick/copy.jpg` is `sick/s00.png` smaller, mirrored and encoded again."""
    for k in range(24):
        place = tmp_path / "images" / ("sick" if k % 2 == 0 else "well")
        place.mkdir(parents=True, exist_ok=True)
        scene(k).save(place / f"s{k:02d}.png")
    copy = scene(0).resize((100, 100), Image.Resampling.LANCZOS).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    copy.save(tmp_path / "images" / "sick" / "copy.jpg", quality=70)
    return tmp_path / "images"


def group_of(manifest: Manifest) -> dict[str, str]:
    return dict(manifest.frame.select("sample_id", "group_id").iter_rows())


def test_a_copy_joins_the_group_and_is_told(folder):
    manifest = read_dataset(folder)
    (pair,) = manifest.copies
    assert (pair.sample_ids, pair.confirmed, pair.view) == (("copy", "s00"), True, "mirrored")
    groups = group_of(manifest)
    assert groups["copy"] == groups["s00"]
    assert len(set(groups.values())) == 24
    assert any("which join groups: 1 (1 of them of different groups otherwise)" in note for note in manifest.notes)


def test_a_copy_in_two_splits_stops_a_training(folder):
    splits = {f"s{k:02d}": "train" if k < 20 else "test" for k in range(24)} | {"copy": "test"}
    manifest = read_dataset(folder).with_splits(splits)
    (leak,) = find_leaks(manifest).leaks
    assert (leak.kind, leak.name, leak.splits) == (COPY, "copy~s00", ("train", "test"))
    with pytest.raises(LeakError, match="copy: 1 in train, 1 in test"):
        require_no_leaks(manifest)
    assert require_no_leaks(manifest, ["copy~s00"]).accepted == (leak,)


def test_a_possible_copy_in_two_splits_is_a_suspect(folder):
    manifest = read_dataset(folder).with_splits({"s01": "train", "s03": "test", "s00": "train", "copy": "train"})
    manifest = replace(manifest, copies=(CopyPair(("s01", "s03"), False, 0.7, "upright"),))
    found = find_leaks(manifest)
    assert not found.leaks
    assert [(pair.kind, pair.name) for pair in found.suspects] == [(POSSIBLE_COPY, "s01~s03")]


def test_copies_are_searched_once(folder, tmp_path, monkeypatch):
    manifest = read_dataset(folder)
    manifest.save(tmp_path / "m")
    monkeypatch.setattr(search, "find_copies", lambda *_: pytest.fail("searched again"))
    again = read_dataset(tmp_path / "m")
    assert [pair.name for pair in again.copies] == ["copy~s00"]
    assert group_of(again) == group_of(manifest)
    assert again.digest == manifest.digest


def test_a_verdict_parts_or_joins_and_changes_the_digest(folder, tmp_path):
    manifest = read_dataset(folder)
    manifest.save(tmp_path / "m")
    table = tmp_path / "m" / "duplicates.csv"
    parted = table.read_text().replace("mirrored,\n", "mirrored,different\n")
    assert "different" in parted
    table.write_text(parted + "s05,s07,,,,same\n")
    judged = read_dataset(tmp_path / "m")
    groups = group_of(judged)
    assert groups["s05"] == groups["s07"]
    assert groups["copy"] != groups["s00"]
    assert judged.digest != manifest.digest
    splits = {"copy": "test", "s00": "train", "s05": "train", "s07": "test"}
    assert [pair.name for pair in find_leaks(judged.with_splits(splits)).leaks] == ["s05~s07"]


def test_pictures_too_small_to_tell_are_not_searched(tmp_path):
    for k in range(4):
        place = tmp_path / ("sick" if k % 2 else "well")
        place.mkdir(exist_ok=True)
        scene(0, side=60).save(place / f"s{k}.jpg", quality=90 - 10 * k)
    manifest = read_dataset(tmp_path)
    assert manifest.copies == ()
    assert manifest.frame["group_id"].n_unique() == 4


def test_broken_and_equal_pictures_are_not_searched(folder):
    (folder / "sick" / "broken.png").write_bytes(b"no picture")
    (folder / "well" / "twin.png").write_bytes((folder / "well" / "s01.png").read_bytes())
    manifest = read_dataset(folder)
    assert [pair.name for pair in manifest.copies] == ["copy~s00"]
    groups = group_of(manifest)
    assert groups["twin"] == groups["s01"]
    assert manifest.frame.filter(pl.col("status") == "unreadable")["sample_id"].to_list() == ["broken"]
