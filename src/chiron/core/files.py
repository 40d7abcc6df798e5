"""Writing so that nothing is ever half written: a temporary name, synced, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chiron.core.errors import OutputError, SpecError

try:
    import fcntl
except ImportError:  # Windows has no such lock; two changes at the same instant are then not serialized
    fcntl = None  # type: ignore[assignment]


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is already durable enough
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Writes a file that is either the old one or the whole new one, even after a power cut.

    Args:
        mode: who may read it, for example 0o600; by default as the system says.

    Raises:
        OutputError: the disk is full, the folder cannot be written, or a file stands where a folder must be.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            if mode is not None:
                os.chmod(temporary, mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)
        raise output_error(path, error) from error


def move_into_place(temporary: Path, path: Path) -> None:
    """Gives a whole file its final name; what stood there is replaced in one step.

    Raises:
        OutputError: the file cannot be synced or renamed.
    """
    try:
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise output_error(path, error) from error


def write_text(path: Path, text: str, *, mode: int | None = None) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode(), mode=mode)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time is inside: for a file that is read, changed and written again.

    The lock is a file beside `path`, which stays: `path` itself is replaced by every write.

    Raises:
        OutputError: the lock cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise output_error(path, error) from error
        yield
    finally:
        os.close(descriptor)  # ends the lock


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone is inside; another one that comes meanwhile is told so and does not wait.

    The claim is a lock on `path`, which stays; the system ends it with the process, however that ends.

    Raises:
        OutputError: the lock cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        yield _lock_at_once(descriptor)
    finally:
        os.close(descriptor)


def _lock_at_once(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path` and renames it to `path` when the block ends well.

    A folder that stood at `path` is replaced in the last step; after an error it is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for inside in [temporary, *temporary.rglob("*")]:
            if inside.is_dir():
                _sync_folder(inside)
                continue
            with inside.open("rb") as stream:
                os.fsync(stream.fileno())
        aside = _moved_aside(path)
        os.replace(temporary, path)
        _sync_folder(path.parent)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Removes a folder under another name, so that whoever is killed inside leaves none that is half there."""
    shutil.rmtree(_moved_aside(path), ignore_errors=True)


def _moved_aside(path: Path) -> Path:
    """Another name beside `path`, under which now stands what stood at `path`, if anything did."""
    aside = path.with_name(f".{path.name}.old-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        os.replace(path, aside)
    return aside


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left half written or half removed in `folder`, where nobody else writes."""
    for kind in ("tmp", "old"):
        for path in folder.glob(f".*.{kind}-*"):
            shutil.rmtree(path, ignore_errors=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """The one sentence for a failed write."""
    return OutputError(
        f"The output must be writable. Got {error.strerror or error} at {path}. "
        "Free space or choose another place with --out."
    )


def require_new(path: Path, *, force: bool) -> None:
    """Refuses an output that exists, unless `force`.

    Raises:
        SpecError: something stands at `path`, or one of its parents is a regular file.
    """
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise SpecError(
                f"The output must lie in a folder. Got {path}, but {parent} is a file. Choose another --out."
            )
    if path.exists() and not force and not (path.is_dir() and not any(path.iterdir())):
        raise SpecError(
            f"The output must not exist yet. Got {path}. Choose another --out, or add --force to replace it."
        )


def require_outside(output: Path, data: Path) -> None:
    """Refuses an output inside a folder of images, where it would be read as data the next time.

    Raises:
        SpecError: `output` is `data` or lies below it.
    """
    if data.is_dir() and output.resolve().is_relative_to(data.resolve()):
        raise SpecError(f"The output must lie outside the images. Got {output} in {data}. Choose another --out.")
