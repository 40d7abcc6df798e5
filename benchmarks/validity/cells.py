"""Cells of a gate: each is measured once and appended to a file, so that a run can be stopped and taken up again."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Cell = dict[str, Any]
Numbers = dict[str, float | str]


def arguments(about: str, sets: int) -> argparse.Namespace:
    """`OUT.jsonl --sets N --seed S` of a gate's command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("out", type=Path, help="what has been measured, a line a cell")
    parser.add_argument("--sets", type=int, default=sets, help="sets a cell")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run_cells(
    cells: list[Cell], measure: Callable[[Cell, int, np.random.Generator], Numbers], given: argparse.Namespace
) -> list[dict[str, Any]]:
    """The numbers of every cell, from the file where they stand there with as many sets."""
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.is_file() else []
    known = [json.loads(line) for line in lines]
    rows = []
    for place, cell in enumerate(cells):
        whole = {**cell, "sets": given.sets, "seed": given.seed}
        row = next((row for row in known if all(row.get(key) == value for key, value in whole.items())), None)
        if row is None:
            row = whole | measure(cell, given.sets, np.random.default_rng([given.seed, place]))
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same columns as Markdown; numbers with four digits."""
    names = [name for name in rows[0] if name != "seed"]
    lines = [f"| {' | '.join(name.replace('_', ' ') for name in names)} |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
