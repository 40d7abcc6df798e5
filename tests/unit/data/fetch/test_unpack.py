"""An archive unpacks completely and inside its folder, or leaves nothing."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from chiron.core.errors import DataError
from chiron.data.fetch.unpack import ARCHIVE_SUFFIXES, unpack

FILES = {"train/sick/a ä.png": b"1" * 10_000, "train/well/b.png": b"", "README.txt": b"text"}


PACK = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}


def tar_bytes(members):
    """A tar of members of any kind, written by hand."""
    parts = []
    for name, content, kind in members:
        info = tarfile.TarInfo(name)
        info.size, info.type = len(content), kind
        parts += [info.tobuf(tarfile.GNU_FORMAT), content, bytes(-len(content) % 512)]
    return b"".join(parts) + bytes(1024)


def pack(path, files):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files:
                packed.writestr(name, content)
    else:
        with tarfile.open(
            path, "w:" + {".tar": "", ".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}[path.suffix]
        ) as tar:
            for name, content in files:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suffix", ARCHIVE_SUFFIXES)
def test_all_files_come_out(tmp_path, suffix):
    unpack(pack(tmp_path / f"a{suffix}", FILES.items()), tmp_path / "a")
    assert tree(tmp_path / "a") == FILES


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt"])
def test_names_that_lead_outside(tmp_path, suffix, name):
    archive = pack(tmp_path / f"a{suffix}", [("first.txt", b"1"), (name, b"2")])
    with pytest.raises(DataError, match="must stay inside"):
        unpack(archive, tmp_path / "deep" / "a")
    assert tree(tmp_path) == {archive.name: archive.read_bytes()}
    assert os.listdir(tmp_path / "deep") == []


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_bombs(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("chiron.data.fetch.unpack._ALWAYS_ALLOWED_BYTES", 1 << 20)
    archive = pack(tmp_path / f"a{suffix}", [("a", bytes(4 << 20)), ("b", b"")])
    with pytest.raises(DataError, match="at most 300 times its size"):
        unpack(archive, tmp_path / "a")
    assert os.listdir(tmp_path) == [archive.name]


def test_bomb_of_empty_files(tmp_path, monkeypatch):
    monkeypatch.setattr("chiron.data.fetch.unpack._ALWAYS_ALLOWED_BYTES", 10_000)
    monkeypatch.setattr("chiron.data.fetch.unpack._MAX_RATIO", 1)
    archive = pack(tmp_path / "a.tar.gz", [(f"file-{k}", b"") for k in range(40)])
    with pytest.raises(DataError, match="times its size"):
        unpack(archive, tmp_path / "a")


def test_zip_that_lies_about_its_size(tmp_path):
    archive = pack(tmp_path / "a.zip", [("a", bytes(1000))])
    data = archive.read_bytes()
    assert data.count((1000).to_bytes(4, "little")) == 2
    archive.write_bytes(data.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(DataError, match="must unpack completely"):
        unpack(archive, tmp_path / "a")


def test_links_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / f"{kind.decode()}.tar", "w") as tar:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    archives = sorted(tmp_path.iterdir())
    assert len(archives) == 4
    for archive in archives:
        with pytest.raises(DataError, match=r"Got a link or device: 'link'"):
            unpack(archive, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == archives


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "files", [[("a", b"1"), ("a", b"2")], [("a", b"1"), ("a/b", b"2")], [("a/b", b"1"), ("a", b"2")]]
)
def test_names_that_collide(tmp_path, files):
    for archive in (pack(tmp_path / "a.zip", files), pack(tmp_path / "a.tar", files)):
        with pytest.raises(DataError, match="must have its own name"):
            unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", ARCHIVE_SUFFIXES)
def test_damaged_archives(tmp_path, suffix, random):
    whole = pack(tmp_path / f"whole{suffix}", [("a", random.bytes(50_000)), ("b", random.bytes(50_000))]).read_bytes()
    damaged = bytearray(whole)
    damaged[30_000:30_100] = bytes(100)
    contents = {"cut": whole[:40_000], "text": b"<html>" * 1000, "empty": b""}
    if suffix != ".tar":  # a plain tar has no checksums of contents
        contents["damaged"] = bytes(damaged)
    for name, content in contents.items():
        archive = tmp_path / f"{name}{suffix}"
        archive.write_bytes(content)
        with pytest.raises(DataError, match="must unpack completely"):
            unpack(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_encrypted_zip_is_told(tmp_path):
    archive = pack(tmp_path / "a.zip", [("a", b"1")])
    data = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"encrypted"):
        unpack(archive, tmp_path / "out")


def test_old_folder_stays_when_the_new_one_fails(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(DataError):
        unpack(pack(tmp_path / "a.zip", [("../b", b"1")]), tmp_path / "out")
    assert tree(tmp_path / "out") == {"old": b"old"}
    unpack(pack(tmp_path / "b.zip", [("new", b"1")]), tmp_path / "out")
    assert tree(tmp_path / "out") == {"new": b"1"}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_headers_too_long_to_be_read_are_refused(tmp_path, suffix, kind):
    members = [("first", b"1", tarfile.REGTYPE), ("long", b"a" * 100_000, kind), ("b", b"", tarfile.REGTYPE)]
    archive = tmp_path / f"a{suffix}"
    archive.write_bytes(PACK[suffix](tar_bytes(members)))
    with pytest.raises(DataError, match=r"header of a file in a tar must have at most 64 kB\. Got a longer one"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_long_header_is_not_read_into_memory(tmp_path):
    """It says to have 200 MB, which tarfile would ask for at once."""
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 200 << 20
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as stream:
        stream.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(DataError, match="at most 64 kB"):
        unpack(archive, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_long_names_come_out(tmp_path):
    name = "/".join(["ä" * 60] * 5) + "/a.png"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=form) as tar:
            for k in range(3):
                info = tarfile.TarInfo(f"{k}/{name}")
                info.size = 700
                tar.addfile(info, io.BytesIO(bytes([k]) * 700))
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
        assert tree(tmp_path / "out") == {f"{k}/{name}": bytes([k]) * 700 for k in range(3)}


def test_bytes_that_a_tar_skips_count(tmp_path, monkeypatch):
    """A sparse file of no content, behind which 4 MB are passed over."""
    monkeypatch.setattr("chiron.data.fetch.unpack._ALWAYS_ALLOWED_BYTES", 1 << 20)
    plain = tar_bytes([("a", bytes(4 << 20), tarfile.GNUTYPE_SPARSE), ("b", b"1", tarfile.REGTYPE)])
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(plain))
    with pytest.raises(DataError, match="at most 300 times its size"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_a_packed_tar_under_another_suffix(tmp_path):
    archive = pack(tmp_path / "a.tar.xz", FILES.items()).rename(tmp_path / "a.tar")
    unpack(archive, tmp_path / "a")
    assert tree(tmp_path / "a") == FILES
