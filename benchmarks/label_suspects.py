"""How many of the first k label suspects are planted wrong labels, without a network.

    python benchmarks/label_suspects.py OUT.jsonl --sets 10
    python benchmarks/label_suspects.py OUT.jsonl --folds RUN_FOLDER TRUTH.csv

Each set: 600 phantoms at 64 px with 5 or 10 % wrong labels (of a patient or lesion), probed in memory. `--folds` reads
predictions/test.csv of every run below RUN_FOLDER instead and compares with the truth table of the phantoms.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl

from chiron.audit.facts import measure_images
from chiron.audit.label_suspects import SuspectReport, suspects_of_folds, suspects_without_network
from chiron.data.phantoms.planted import Planted
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.workflows.phantoms import KINDS, make_phantoms

NUM_IMAGES, IMG_SIZE = 600, 64
NOISE = (0.05, 0.10)


def measured(report: SuspectReport, wrong: set[str]) -> dict[str, float]:
    """Precision among the first k, and what share of all wrong labels is in the list."""
    hits = np.array([suspect.sample_id in wrong for suspect in report.suspects], dtype=float)
    k = len(wrong)
    numbers = {f"precision_at_{size}": float(hits[:size].mean()) for size in (10, 20, 50) if len(hits) >= size}
    found = float(hits.sum()) / max(1, k)
    return numbers | {"precision_at_num_wrong": float(hits[:k].sum()) / max(1, k), "recall_of_list": found,
                      "list_length": len(hits), "num_wrong": k, "chance": k / report.num_images}  # fmt: skip


def wrong_labels(truth: Path) -> set[str]:
    """Ids of the phantoms whose given label is not the true one."""
    table = pl.read_csv(truth, infer_schema_length=None)
    return set(table.filter(pl.col("label_is_wrong") == 1)["sample_id"])


def one_set(kind: str, noise: float, seed: int) -> dict[str, object]:
    """One phantom set, drawn, written, read and ranked."""
    with tempfile.TemporaryDirectory() as folder:
        planted = Planted(label_noise=noise)
        path = make_phantoms(
            kind, Path(folder) / "data", num_images=NUM_IMAGES, img_size=IMG_SIZE, seed=seed, planted=planted
        )
        manifest = read_dataset(path, conflicts="note")
        report = suspects_without_network(manifest, measure_images(ImageSource(manifest.root), manifest.frame))
        numbers = measured(report, wrong_labels(Path(folder) / "data-truth" / "truth.csv"))
    return {"kind": kind, "noise": noise, "seed": seed} | numbers


def table(out: Path) -> str:
    """Means over the sets of a cell, with the standard deviation over sets."""
    cells = defaultdict(list)
    for line in map(json.loads, out.read_text().splitlines()):
        cells[line["kind"], line["noise"]].append(line)
    names = (
        "precision_at_10",
        "precision_at_20",
        "precision_at_50",
        "precision_at_num_wrong",
        "recall_of_list",
        "list_length",
        "chance",
    )
    rows = ["| phantom | wrong labels | sets | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"]
    for (kind, noise), lines in sorted(cells.items()):
        values = [np.array([line[name] for line in lines if name in line]) for name in names]
        shown = [f"{v.mean():.2f} (SD {v.std(ddof=1):.2f})" if len(v) > 1 else "-" for v in values]
        rows.append(f"| {kind} | {noise:g} | {len(lines)} | " + " | ".join(shown) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", type=int, default=0, help="of every cell")
    parser.add_argument("--folds", type=Path, nargs=2, metavar=("RUNS", "TRUTH"))
    asked = parser.parse_args()
    if asked.folds:
        tables = sorted(asked.folds[0].glob("*/predictions/test.csv"))
        print(json.dumps(measured(suspects_of_folds(tables), wrong_labels(asked.folds[1]))))
    for number in range(asked.sets):
        for kind in KINDS:
            for noise in NOISE:
                with asked.out.open("a") as stream:
                    stream.write(json.dumps(one_set(kind, noise, 30_000 + number)) + "\n")
    if asked.out.exists():
        print(table(asked.out))
