import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from PIL import Image

from chiron.core.errors import DataError
from chiron.data import cache as cache_module
from chiron.data.cache import CachedImages, cache_images, is_whole, list_caches, prune_caches
from chiron.data.dataset import DrawKey, StoredImages, TrainingImages
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.preprocess.resize import canonical_resize
from chiron.spec.augment import AugmentRecipe
from chiron.spec.input_spec import InputSpec

SPEC = InputSpec(img_size=32, in_chans=1)


@pytest.fixture
def manifest(class_folders):
    return read_dataset(class_folders)


@pytest.fixture
def place(tmp_path):
    return tmp_path / ".chiron_cache"


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        InputSpec(img_size=24, canonical_size=40, in_chans=3, resize="letterbox", interpolation="bicubic"),
        InputSpec(img_size=16, in_chans=1, bit_depth=16),
    ],
)
def test_a_cached_image_is_the_decoded_one(manifest, place, spec):
    cached = cache_images(manifest, spec, place)
    source = ImageSource(manifest.root)
    for path in manifest.frame["path"]:
        expected = canonical_resize(source.decode(path), spec)
        found = cached.read(path)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_training_images_are_the_same_from_the_cache(manifest, place):
    cached = cache_images(manifest, SPEC, place)
    paths = manifest.frame["path"].to_list()
    options = {"sample_ids": paths, "recipe": AugmentRecipe(degrees=20, brightness=0.3), "seed": 1}
    plain = TrainingImages(ImageSource(manifest.root), paths, SPEC, **options)
    fast = TrainingImages(ImageSource(manifest.root), paths, SPEC, **options, cached=cached)
    for index in (0, 7, 39):
        key = DrawKey(index, epoch=2)
        torch.testing.assert_close(fast[key][0], plain[key][0], rtol=0, atol=0)


def test_nothing_is_decoded_a_second_time(manifest, place, monkeypatch):
    cache_images(manifest, SPEC, place)
    monkeypatch.setattr(ImageSource, "decode", lambda *_: pytest.fail("decoded again"))
    cached = cache_images(manifest, SPEC, place)
    images = StoredImages(ImageSource(manifest.root), manifest.frame["path"].to_list(), SPEC, cached=cached)
    assert images[0][0].shape == (1, 32, 32)


def test_equal_pictures_stand_in_it_once(class_folders, place):
    shutil.copy(class_folders / "sick/Bild 000 ä.png", class_folders / "sick/again.png")
    manifest = read_dataset(class_folders)
    cached = cache_images(manifest, SPEC, place)
    (entry,) = list_caches(place)
    assert entry.num_images == manifest.frame.height - 1
    np.testing.assert_array_equal(cached.read("sick/again.png"), cached.read("sick/Bild 000 ä.png"))


def test_another_size_or_other_images_get_another_cache(class_folders, manifest, place):
    cache_images(manifest, SPEC, place)
    cache_images(manifest, InputSpec(img_size=24, in_chans=1), place)
    Image.fromarray(np.full((40, 40), 7, np.uint8)).save(class_folders / "well/new.png")
    cache_images(read_dataset(class_folders), SPEC, place)
    assert len(list_caches(place)) == 3
    # what `finish` does is no part of a stored image
    cache_images(read_dataset(class_folders), InputSpec(img_size=16, canonical_size=32, in_chans=1, mean=(0.1,)), place)
    assert len(list_caches(place)) == 3


def test_unreadable_images_are_left_out(class_folders, place):
    (class_folders / "well/Bild 001 ä.png").write_bytes(b"no image")
    manifest = read_dataset(class_folders)
    assert "well/Bild 001 ä.png" not in cache_images(manifest, SPEC, place).rows


def test_images_that_changed_are_noticed(class_folders, manifest, place):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(class_folders / "well/Bild 001 ä.png")
    with pytest.raises(DataError, match=r"manifest was written for\. Got another content in well/Bild 001 ä\.png"):
        cache_images(manifest, SPEC, place)
    assert list_caches(place) == []
    assert list(place.iterdir()) == []


def test_a_damaged_image_is_noticed(manifest, place):
    cached = cache_images(manifest, SPEC, place)
    (entry,) = list_caches(place)
    assert is_whole(entry)
    pixels = np.load(entry.folder / "images.npy", mmap_mode="r+")
    row = cached.rows["sick/Bild 000 ä.png"]
    pixels[row, 3, 3] ^= 1
    pixels.flush()
    assert not is_whole(entry)
    cached.read("well/Bild 001 ä.png")
    with pytest.raises(DataError, match="cache of decoded images must be whole"):
        cached.read("sick/Bild 000 ä.png")


@pytest.mark.parametrize("damage", ["not json", json.dumps({"format": 1, "content_sha256": [], "crc32": []})])
def test_a_damaged_index_is_noticed(manifest, place, damage):
    cache_images(manifest, SPEC, place)
    (list_caches(place)[0].folder / "index.json").write_text(damage)
    with pytest.raises(DataError, match="cache of decoded images must be whole"):
        cache_images(manifest, SPEC, place)
    assert [is_whole(entry) for entry in list_caches(place)] == [False]
    prune_caches(place, idle_days=0)
    assert read_sum(cache_images(manifest, SPEC, place)) > 0


def read_sum(cached: CachedImages) -> int:
    return sum(int(cached.read(path).sum()) for path in cached.rows)


def test_other_processes_read_it(manifest, place):
    cached = cache_images(manifest, SPEC, place)
    cached.read("sick/Bild 000 ä.png")
    assert len(pickle.dumps(cached)) < 10_000  # names, no pixels
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(read_sum, cached).result(timeout=60) == read_sum(cached)


def test_two_processes_may_write_it_at_once(manifest, place, monkeypatch):
    """The slower one finds the other's cache at its place and takes it."""
    write = cache_module._write

    def slower(folder, *rest):
        write(folder, *rest)  # the other process
        before = (folder / "images.npy").stat().st_ino
        write(folder, *rest)
        assert (folder / "images.npy").stat().st_ino == before

    monkeypatch.setattr(cache_module, "_write", slower)
    assert read_sum(cache_images(manifest, SPEC, place)) > 0
    assert [path.name for path in place.iterdir()] == [list_caches(place)[0].folder.name]


def test_what_a_killed_process_left_is_removed(manifest, place):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = place / f".unfinished-{int(dead.stdout)}-abc"
    alive = place / f".unfinished-{os.getpid()}-abc"
    for folder in (left, alive):
        folder.mkdir(parents=True)
    cache_images(manifest, SPEC, place)
    assert not left.exists()
    assert alive.exists()


def test_a_full_disk_is_told_and_stops_nothing(manifest, place, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with caplog.at_level(logging.WARNING, "chiron.data"):
        assert cache_images(manifest, SPEC, place) is None
    assert "which the disk has not" in caplog.text


def test_pruning_removes_what_is_not_used(manifest, place):
    cache_images(manifest, SPEC, place)
    cache_images(manifest, InputSpec(img_size=24, in_chans=1), place)
    newest, oldest = list_caches(place)
    os.utime(oldest.folder / "index.json", (time.time() - 40 * 86400,) * 2)
    assert [entry.folder for entry in prune_caches(place, idle_days=30)] == [oldest.folder]
    assert [entry.folder for entry in list_caches(place)] == [newest.folder]
    prune_caches(place, idle_days=0)
    assert list_caches(place) == []
