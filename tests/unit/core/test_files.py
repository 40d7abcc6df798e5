import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from chiron.core.errors import OutputError, SpecError
from chiron.core.files import (
    new_folder,
    remove_folder,
    remove_leftovers,
    require_new,
    write_bytes,
    write_text,
)


def test_write_replaces_the_whole_file(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    write_text(target, "first and longer")
    write_text(target, "second")
    assert target.read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_failed_write_keeps_the_old_file(tmp_path):
    """A disk that fills up: the process may write 4 kB, no more."""
    target = tmp_path / "file.bin"
    write_bytes(target, b"old")
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from chiron.core.errors import OutputError\n"
        "from chiron.core.files import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    write_bytes(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    assert "The output must be writable. Got File too large" in done.stdout
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)  # the limit belonged to the other process


def test_new_folder_appears_only_when_whole(tmp_path):
    target = tmp_path / "bundle"
    with pytest.raises(RuntimeError, match="stop"), new_folder(target) as folder:
        (folder / "a").write_text("1")
        raise RuntimeError("stop")
    assert not target.exists()
    with new_folder(target) as folder:
        (folder / "a").write_text("2")
        assert not target.exists()
    assert (target / "a").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_new_folder_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"), new_folder(tmp_path / "file" / "x"):
        pass


def test_existing_output_needs_force(tmp_path):
    target = tmp_path / "out"
    require_new(target, force=False)
    target.mkdir()
    require_new(target, force=False)  # an empty folder is nothing
    (target / "a").write_text("")
    with pytest.raises(SpecError, match="--force"):
        require_new(target, force=False)
    require_new(target, force=True)


def test_output_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="is a file"):
        require_new(Path(tmp_path / "file" / "out"), force=True)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="which file a descriptor belongs to is read from /proc")
def test_files_and_folders_are_synced_before_the_rename_and_the_parent_after(tmp_path, monkeypatch):
    events, sync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: (events.append(os.path.basename(os.readlink(f"/proc/self/fd/{number}"))), sync(number)),
    )
    monkeypatch.setattr(os, "replace", lambda old, new: (events.append("rename"), rename(old, new)))
    with new_folder(tmp_path / "step") as folder:
        (folder / "inner").mkdir()
        (folder / "state").write_text("1")
        (folder / "inner" / "more").write_text("2")
    place = events.index("rename")
    assert sorted(events[:place]) == sorted([folder.name, "inner", "state", "more"])
    assert events[place + 1 :] == [tmp_path.name]
    events.clear()
    write_bytes(tmp_path / "file", b"3")
    assert [event == "rename" for event in events] == [False, True, False]
    assert events[2] == tmp_path.name


def test_a_folder_is_removed_under_another_name(tmp_path, monkeypatch):
    """Whoever is killed meanwhile leaves nothing at the old name, and the rest is cleared away later."""
    from chiron.core import files

    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "state").write_text("1")
    (tmp_path / "keep").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", lambda *args, **options: None)  # killed before
        remove_folder(tmp_path / "step")
    assert not (tmp_path / "step").exists()
    (tmp_path / ".next.tmp-77").mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]
    remove_folder(tmp_path / "nothing")  # is none
