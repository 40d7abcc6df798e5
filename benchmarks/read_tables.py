"""How long reading ISIC 2019's tables takes, beside the bare work of parsing and joining them without any check.

    python benchmarks/read_tables.py FOLDER_WITH_BOTH_CSVS

Prints the median and the spread of several repeats in one process, and of the whole command.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from chiron.data.reading import read_dataset
from chiron.spec.layout import Layout

REPEATS = 7


def bare(folder: Path) -> int:
    """Parse both tables and join them: no check, no groups, no notes."""
    labels, metadata = (pl.read_csv(path) for path in sorted(folder.glob("*.csv")))
    return labels.join(metadata, on="image", how="left").height


def chiron(folder: Path) -> int:
    """All of reading but the images."""
    return read_dataset(folder, Layout(table_only=True)).frame.height


def command(folder: Path) -> int:
    """The whole program, from its start."""
    arguments = [sys.executable, "-m", "chiron.cli.main", "data", "inspect", str(folder), "--table-only", "--json"]
    return len(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def seconds(work: Callable[[Path], int], folder: Path) -> list[float]:
    """Sorted times of the repeats."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work(folder)
        times.append(time.perf_counter() - started)
    return sorted(times)


if __name__ == "__main__":
    data = Path(sys.argv[1])
    floor = statistics.median(seconds(bare, data))
    for name, work in (("parse and join", bare), ("read_dataset", chiron), ("whole command", command)):
        spent = seconds(work, data)
        median = statistics.median(spent)
        print(f"{name:<15} {median:.3f} s (range {spent[0]:.3f}-{spent[-1]:.3f})  {median / floor:.0f} x the first")
