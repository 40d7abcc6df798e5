"""Commands in processes of their own that start fast, to be killed at any moment.

A server that has loaded everything forks them; what a test changes in its own process does not reach them.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path


def start_command(arguments: Sequence[object], errors: Path, *, slow_writes: bool = False) -> BaseProcess:
    """One `chiron` command; what it says on stderr goes to the file `errors`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chiron.workflows.train", "chiron.workflows.evaluate", "chiron.cli.main"])
    process = context.Process(target=_run, args=([str(part) for part in arguments], str(errors), slow_writes))
    process.start()
    return process


def _run(arguments: list[str], errors: str, slow_writes: bool) -> None:
    from chiron.cli.main import main

    number = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(number, sys.stderr.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if slow_writes:
        _slow_down()
    main(arguments)


def _slow_down() -> None:
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
