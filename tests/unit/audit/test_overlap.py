"""Overlap of a test with the images of a training: by hashes, by the images themselves, and what the file tells."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from chiron.audit.overlap import find_overlap, require_no_overlap
from chiron.core.errors import LeakError
from chiron.data.known_images import KnownImages, known_images
from chiron.data.reading import read_dataset
from chiron.spec.layout import Layout


def scene(seed: int, side: int = 120) -> Image.Image:
    noise = np.random.default_rng(seed).uniform(0, 255, (14, 14, 3)).astype(np.float32)
    return Image.fromarray(
        np.clip(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)
    )


def write(folder: Path, pictures: dict[str, Image.Image], **how) -> Path:
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name, **how)
    return folder


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    write(folder, {f"{('a', 'b')[k % 2]}/t{k:02d}.png": scene(k) for k in range(30)})
    manifest = read_dataset(folder)
    return manifest.with_splits({name: "train" if name < "t26" else "test" for name in manifest.frame["sample_id"]})


def others(folder: Path, copies: dict[str, Image.Image], count: int = 20, suffix: str = "png") -> Path:
    write(folder, {f"{('a', 'b')[k % 2]}/n{k:02d}.png": scene(100 + k) for k in range(count)})
    return write(folder, {f"a/{name}.{suffix}": picture for name, picture in copies.items()})


def trained_on(manifest):
    from dataclasses import replace

    import polars as pl

    return replace(manifest, frame=manifest.frame.filter(pl.col("split") == "train"))


def test_only_what_was_fitted_is_kept_and_no_name(training):
    known = known_images(training, ("train", "val", "cal"))
    assert len(known.pixels) == len(known.looks) == 26
    assert list(known.pixels) == sorted(known.pixels)
    text = known.to_text()
    assert KnownImages.from_text(text) == known
    assert not any(name in text for name in training.frame["sample_id"])
    assert set(json.loads(text)) == {"about", "pixels", "looks"}
    assert all(len(mark) == 16 for mark in (*known.pixels, *known.looks))


def test_new_images_do_not_overlap(training, tmp_path):
    part = read_dataset(others(tmp_path, {}))
    for road in ({"training": trained_on(training)}, {}):
        overlap = find_overlap(part, known_images(training, ("train",)), **road)
        assert overlap.seen == ()
        require_no_overlap(overlap)


def test_equal_pixels_are_found_by_hashes_under_any_name(training, tmp_path):
    part = read_dataset(others(tmp_path, {"renamed": scene(3), "of_the_test_split": scene(28)}))
    overlap = find_overlap(part, known_images(training, ("train",)))
    assert (overlap.basis, overlap.same_pixels) == ("hashes", ("renamed",))
    with pytest.raises(LeakError, match=r"Got 1 of 22 that its training has seen: renamed\. Compared with the hashes"):
        require_no_overlap(overlap)


def test_one_near_look_is_a_suspect_and_many_are_no_coincidence(training, tmp_path):
    one = read_dataset(others(tmp_path / "one", {"c0": scene(0).resize((90, 90))}))
    overlap = find_overlap(one, known_images(training, ("train",)))
    assert (overlap.suspects, overlap.seen) == (("c0",), ())
    many = read_dataset(others(tmp_path / "many", {f"c{k}": scene(k).resize((90, 90)) for k in range(4)}))
    overlap = find_overlap(many, known_images(training, ("train",)))
    assert len(overlap.seen) == len(overlap.suspects) == 4


def test_copies_are_confirmed_where_the_training_images_are_at_hand(training, tmp_path):
    changed = {"smaller": scene(1).resize((90, 90)), "turned": scene(2).rotate(90), "equal": scene(4)}
    part = read_dataset(others(tmp_path, changed))
    overlap = find_overlap(part, None, trained_on(training))
    assert (overlap.basis, overlap.same_pixels, overlap.copies) == ("images", ("equal",), ("smaller", "turned"))
    assert overlap.seen == ("equal", "smaller", "turned")


def test_without_hashes_nobody_knows(training, tmp_path):
    part = read_dataset(others(tmp_path, {"equal": scene(4)}))
    overlap = find_overlap(part, None)
    assert (overlap.basis, overlap.seen) == ("nothing", ())
    assert "nobody knows" in overlap.describe()


def test_a_set_of_one_class_is_read_where_it_may_be(tmp_path):
    write(tmp_path, {f"a/n{k}.png": scene(k) for k in range(3)})
    assert read_dataset(tmp_path, Layout(one_class=True)).classes == ("a",)
