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
from chiron.data.cache import CachedImages, _key, cache_images, is_whole, list_caches, prune_caches
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
    here = cache_module._this_host()
    left = place / f".unfinished-{here}-{int(dead.stdout)}-abc"
    alive = place / f".unfinished-{here}-{os.getpid()}-abc"
    elsewhere = place / f".unfinished-0123456789ab-{int(dead.stdout)}-abc"  # there it may live
    abandoned = place / f".unfinished-0123456789ab-{os.getpid()}-abc"
    for folder in (left, alive, elsewhere, abandoned):
        folder.mkdir(parents=True)
    os.utime(abandoned, (time.time() - 25 * 3600,) * 2)
    cache_images(manifest, SPEC, place)
    assert [folder.exists() for folder in (left, alive, elsewhere, abandoned)] == [False, True, True, False]


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


def test_two_with_one_process_number_write_into_folders_of_their_own(manifest, place, monkeypatch):
    """As containers on a shared disk do."""
    written = []
    open_memmap = np.lib.format.open_memmap
    monkeypatch.setattr(
        np.lib.format, "open_memmap", lambda path, **rest: written.append(path) or open_memmap(path, **rest)
    )
    for _ in range(2):
        cache_images(manifest, SPEC, place)
        shutil.rmtree(place)
    assert len({path.parent.name for path in written if ".unfinished-" in str(path)}) == 2


def test_only_its_owner_may_look_into_it(manifest, place):
    cache_images(manifest, SPEC, place)
    assert place.stat().st_mode & 0o777 == 0o700


def test_files_of_equal_pixels_are_two_images(tmp_path, place, random):
    """8 bits and the same in 16 are one picture, but not one stored image: interpolated values fall between."""
    pixels = random.integers(0, 256, (40, 40), dtype=np.uint8)
    for folder in "ab":
        (tmp_path / "data" / folder).mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "data/a/eight.png")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(tmp_path / "data/a/sixteen.png")
    Image.fromarray(255 - pixels).save(tmp_path / "data/b/other.png")
    manifest = read_dataset(tmp_path / "data")
    assert manifest.frame["pixels_sha256"].n_unique() == 2
    spec = InputSpec(img_size=32, in_chans=1, bit_depth=16)
    cached, source = cache_images(manifest, spec, place), ImageSource(manifest.root)
    stored = {path: canonical_resize(source.decode(path), spec) for path in manifest.frame["path"]}
    assert (stored["a/eight.png"] != stored["a/sixteen.png"]).any()
    for path, expected in stored.items():
        np.testing.assert_array_equal(cached.read(path), expected)


def test_rows_of_an_npz_are_cached(tmp_path, place, random):
    images = random.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    labels = np.arange(6)[:, None] % 2
    np.savez(tmp_path / "set.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    manifest = read_dataset(tmp_path / "set.npz")
    cached = cache_images(manifest, SPEC, place)
    assert list_caches(place)[0].num_images == 6
    np.testing.assert_array_equal(
        cached.read("test#3"), canonical_resize(ImageSource(manifest.root).decode("train#3"), SPEC)
    )


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:20], lambda data: b"", None])
def test_pixels_that_are_cut_off_or_missing_are_noticed(manifest, place, damage):
    cached = cache_images(manifest, SPEC, place)
    images = list_caches(place)[0].folder / "images.npy"
    images.unlink() if damage is None else images.write_bytes(damage(images.read_bytes()))
    for ask in (lambda: cached.read("sick/Bild 000 ä.png"), lambda: cache_images(manifest, SPEC, place)):
        with pytest.raises(DataError, match="cache of decoded images must be whole"):
            ask()


def test_a_cache_that_cannot_be_touched_is_read(manifest, place, monkeypatch):
    cache_images(manifest, SPEC, place)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert read_sum(cache_images(manifest, SPEC, place)) > 0


def test_a_mask_makes_another_cache_and_lies_in_it(manifest, place):
    masked = SPEC.model_copy(update={"mask": "lung"})
    plain, cached = cache_images(manifest, SPEC, place), cache_images(manifest, masked, place)
    assert plain.folder != cached.folder
    source = ImageSource(manifest.root)
    for path in manifest.frame["path"].head(4):
        stored = cached.read(path)
        assert stored.shape == (32, 32, 2)
        np.testing.assert_array_equal(stored, source.stored(path, masked))
        np.testing.assert_array_equal(stored[..., :1], plain.read(path))
    assert len(list_caches(place)) == 2
    assert cache_images(manifest, masked, place).folder == cached.folder


def test_the_version_that_finds_masks_names_their_cache_and_no_other(monkeypatch):
    masked = SPEC.model_copy(update={"mask": "lung"})
    before = {spec: _key(spec, ["a"]) for spec in (SPEC, masked)}
    monkeypatch.setattr("cv2.__version__", "0")
    assert _key(SPEC, ["a"]) == before[SPEC]
    assert _key(masked, ["a"]) != before[masked]
