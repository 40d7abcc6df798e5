"""ImageSource: the same images from a folder, a zip and an npz; unsafe archives are refused."""

import os
import pickle
import stat
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chiron.core.errors import DataError, PreprocessError
from chiron.data.source import ImageSource


def make_tree(folder: Path, random: np.random.Generator, *, count: int = 3) -> dict[str, np.ndarray]:
    """Pixels by path, written below `folder`; names with spaces and letters of other scripts."""
    pixels = {}
    for label in ("kein Befund", "Entzündung 肺炎"):
        for index in range(count):
            path = f"{label}/bild {index}.png"
            pixels[path] = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[path]).save(folder / path)
    return pixels


def pack(folder: Path, target: Path, *, top: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", compression) as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                packed.write(file, top + file.relative_to(folder).as_posix())
    return target


def test_folder_zip_and_zip_with_top_folder_show_the_same_images(tmp_path, random):
    pixels = make_tree(tmp_path / "images", random)
    roots = [
        tmp_path / "images",
        pack(tmp_path / "images", tmp_path / "flat.zip"),
        pack(tmp_path / "images", tmp_path / "topped.ZIP", top="archive/", compression=zipfile.ZIP_STORED),
    ]
    for root in roots:
        source = ImageSource(root)
        assert source.names() == sorted(pixels)
        for path, expected in pixels.items():
            np.testing.assert_array_equal(source.decode(path), expected)
        assert source.read_bytes("kein Befund/bild 0.png") == (tmp_path / "images/kein Befund/bild 0.png").read_bytes()


def test_a_top_folder_that_is_a_split_stays(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("Train/cat/1.png", b"x")
        packed.writestr("Train/dog/1.png", b"x")
    assert ImageSource(tmp_path / "x.zip").names() == ["Train/cat/1.png", "Train/dog/1.png"]


def test_hidden_files_are_left_out(tmp_path):
    for name in ("a/1.png", "a/.DS_Store", ".cache/2.png", "__MACOSX/a/._1.png"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(b"x")
    assert ImageSource(tmp_path / "d").names() == ["a/1.png"]
    # without the hidden folders "a" is the one top folder of the zip
    assert ImageSource(pack(tmp_path / "d", tmp_path / "d.zip")).names() == ["1.png"]


def test_npz_rows_are_images(tmp_path, random):
    train = random.integers(0, 256, (3, 4, 4), dtype=np.uint8)
    test = random.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", train_images=train, test_images=test, train_labels=np.zeros((3, 1), np.uint8))
    source = ImageSource(tmp_path / "x.npz")
    assert source.names() == ["test#0", "test#1", "train#0", "train#1", "train#2"]
    np.testing.assert_array_equal(source.decode("train#2"), train[2][..., None])
    np.testing.assert_array_equal(source.decode("test#1"), test[1])
    assert source.read_bytes("train#1") == train[1].tobytes()
    with pytest.raises(DataError, match=r"0 to 2\. Got 'train#3'"):
        source.decode("train#3")


def test_npz_with_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="plain numbers or text"):
        ImageSource(tmp_path / "x.npz").names()


def test_npz_with_volumes_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=np.zeros((2, 4, 4, 4, 1), np.uint8))
    with pytest.raises(DataError, match="Volumes are not read"):
        ImageSource(tmp_path / "x.npz").names()


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "..\\x.png"])
def test_zip_slip_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/1.png", b"x")
        packed.writestr(name, b"x")
    with pytest.raises(DataError, match="must stay inside"):
        ImageSource(tmp_path / "x.zip").names()


def test_a_manifest_path_cannot_leave_the_folder(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="must stay inside"):
        ImageSource(tmp_path / "d").read_bytes("../secret.png")


def test_zip_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/1.png", bytes(65 << 20))
    with pytest.raises(DataError, match="at most 300 times its size"):
        ImageSource(tmp_path / "x.zip").names()


def test_zip_with_overlapping_files_is_refused(tmp_path):
    """Many directory entries over the same compressed bytes, as in Fifield 2019."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/0000.png", bytes(range(256)) * 40)
        entry = packed.infolist()[0]
        for index in range(1, 50):
            copy = zipfile.ZipInfo(f"a/{index:04}.png")
            copy.header_offset, copy.CRC = entry.header_offset, entry.CRC
            copy.file_size = copy.compress_size = entry.file_size
            packed.filelist.append(copy)
    with pytest.raises(DataError, match="must not overlap"):
        ImageSource(tmp_path / "x.zip").names()


def test_repeated_names_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/1.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr("a/1.png", b"y")
    with pytest.raises(DataError, match="its own name"):
        ImageSource(tmp_path / "x.zip").names()


def test_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/1.png", b"x")
        link = zipfile.ZipInfo("a/2.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"must hold files, not links. Got 'a/2\.png'"):
        ImageSource(tmp_path / "x.zip").names()


@pytest.mark.parametrize(("place", "value"), [(6, 214), (28, 0)], ids=["version", "no name"])
def test_a_zip_that_python_cannot_open_is_refused(tmp_path, place, value):
    """Found by `benchmarks/fuzz_decoders.py`: a version of the future, and a file without a name."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a", b"x")
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[data.index(b"PK") + place] = value
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DataError):
        ImageSource(tmp_path / "x.zip").names()


def test_deep_and_many_names_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a/" * 2000 + "1.png", b"x")
        for index in range(3000):
            packed.writestr(f"b/{index}.png", b"x")
    assert len(ImageSource(tmp_path / "x.zip").names()) == 3001


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"another thing than a file: pipe\.png"):
        ImageSource(tmp_path).read_bytes("pipe.png")


def test_the_start_of_a_file(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "1").write_bytes(bytes(range(256)))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.write(tmp_path / "d" / "1", "1")
    for root in (tmp_path / "d", tmp_path / "x.zip"):
        assert ImageSource(root).read_start("1") == bytes(range(132))


def test_encrypted_and_damaged_members_are_named(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a/1.png", b"0123456789")
        packed.writestr("a/2.png", b"abcdefghij")
    data = bytearray(path.read_bytes())
    data[data.index(b"0123456789")] ^= 1  # the checksum no longer fits
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the bit that says "encrypted", of 2.png
        place = data.index(signature, data.index(signature) + 4) + offset
        data[place : place + 2] = struct.pack("<H", 1)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"unpack completely.*2\.png"):
        ImageSource(path).read_bytes("2.png")
    with pytest.raises(DataError, match=r"unpack completely.*CRC-32.*1\.png"):
        ImageSource(path).read_bytes("1.png")


@pytest.mark.parametrize("suffix", [".zip", ".npz"])
def test_a_truncated_archive_is_refused(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=f"must be a complete {suffix[1:]} file"):
        ImageSource(tmp_path / f"x{suffix}").names()


def test_what_is_no_source(tmp_path):
    with pytest.raises(DataError, match="a path that does not exist"):
        ImageSource(tmp_path / "nowhere").names()
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match="Got another file"):
        ImageSource(tmp_path / "x.txt").names()


def test_missing_and_broken_images_are_named(tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    source = ImageSource(tmp_path)
    with pytest.raises(DataError, match=r"No such file.*gone\.png"):
        source.decode("gone.png")
    with pytest.raises(PreprocessError, match=r"text\.jpg"):
        source.decode("text.jpg")


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(b"x")
    (tmp_path / "d" / "a").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", tmp_path / "d" / "b")
    os.symlink(tmp_path / "d", tmp_path / "d" / "a" / "up")
    assert ImageSource(tmp_path / "d").names() == ["b/1.png"]


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    try:
        with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match="valid UTF-8"):
        ImageSource(tmp_path).names()


def decode_sums(source: ImageSource) -> list[int]:
    return [int(source.decode(name).sum()) for name in source.names()]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_source_goes_to_other_processes(tmp_path, random, method):
    make_tree(tmp_path / "images", random, count=10)
    source = ImageSource(pack(tmp_path / "images", tmp_path / "x.zip"))
    names = source.names() * 20
    expected = [source.read_bytes(name) for name in names]  # opens the handle, which no other process may share
    assert pickle.loads(pickle.dumps(source)).names() == source.names()
    with get_context(method).Pool(2) as pool:
        assert pool.map(source.read_bytes, names, chunksize=5) == expected


def test_a_source_is_safe_in_threads(tmp_path, random):
    make_tree(tmp_path / "images", random, count=20)
    source = ImageSource(pack(tmp_path / "images", tmp_path / "x.zip"))
    expected = decode_sums(ImageSource(tmp_path / "images"))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: decode_sums(source), range(16))) == [expected] * 16


def test_a_path_with_a_null_byte_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="must stay inside its data source"):
        ImageSource(tmp_path).read_bytes("a\0b.png")
