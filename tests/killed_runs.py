"""Commands in processes of their own that start fast, to be killed at any moment or to work together.

A server that has loaded everything forks them, once for all tests of a process; what a test changes in its own process
does not reach them.
"""

import multiprocessing
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

LOADED = (
    *("chiron.workflows.train", "chiron.workflows.evaluate", "chiron.workflows.sweep", "chiron.workflows.serve"),
    *("chiron.serve.app", "chiron.cli.main"),
)


def fork(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """A function of a module, at work in a process that has everything loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def start_command(
    arguments: Sequence[object],
    errors: Path,
    *,
    first: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """One `chiron` command, after a function of this module; what it says on stderr goes to the file `errors`."""
    return fork(_run, [str(part) for part in arguments], str(errors), first, dict(environment or {}))


def ranks(size: int) -> list[dict[str, str]]:
    """The environment of each of `size` processes of one job, as torchrun sets it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    job = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [job | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def write_errors_to(errors: str) -> None:
    """What this process says on stderr goes to the end of that file."""
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())


def _run(arguments: list[str], errors: str, first: Callable[[], None] | None, environment: dict[str, str]) -> None:
    from chiron.cli.main import main

    write_errors_to(errors)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.environ.update(environment)
    if first is not None:
        first()
    main(arguments)


def write_slowly() -> None:
    """Every step of writing a checkpoint takes a while: its bytes, each file, each sync, each removal."""
    from chiron.core import files
    from chiron.engine import checkpoint

    def slowly(function, seconds: float):
        def call(*args, **options):
            time.sleep(seconds)
            return function(*args, **options)

        return call

    checkpoint.serialize = slowly(checkpoint.serialize, 0.15)
    checkpoint.json.dumps = slowly(checkpoint.json.dumps, 0.02)
    files.os.fsync = slowly(files.os.fsync, 0.05)
    files.os.unlink = slowly(files.os.unlink, 0.03)
    files.os.replace = slowly(files.os.replace, 0.05)


def limit_files(limit: int) -> None:
    """No file may grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def fill_the_disk() -> None:
    """The disk is full when half of the third checkpoint is written."""
    import errno

    from chiron.engine import checkpoint

    written = []

    def write_bytes(self, data):
        written.append(self)
        with self.open("wb") as stream:
            stream.write(data[: len(data) // 2] if len(written) == 3 else data)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))

    checkpoint.Path.write_bytes = write_bytes
