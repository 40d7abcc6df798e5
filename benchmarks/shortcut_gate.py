"""How often the shortcut probes alarm on clean phantoms, and how often they find a planted shortcut.

    python benchmarks/shortcut_gate.py FOLDER --what clean --sets 100
    python benchmarks/shortcut_gate.py FOLDER --what planted --sets 20
    python benchmarks/shortcut_gate.py FOLDER --what table

Each set: 300 images at 64 px, written as PNG files to FOLDER, read back with its groups, probed; half of the sets are
chests, half are skin. A line of FOLDER/results.jsonl is one set. Sets and lines that stand there are not made again, so
that a run can be stopped; without results.jsonl the same images are probed anew. Needs 3 MB a set.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from scipy import special

from chiron.audit.facts import measure_images
from chiron.audit.shortcuts import find_shortcuts
from chiron.data.phantoms.planted import NOTHING_PLANTED, SHORTCUTS, Planted
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.metrics.intervals.proportion import wilson
from chiron.workflows.phantoms import KINDS, make_phantoms

NUM_IMAGES, IMG_SIZE = 300, 64
STRENGTHS = (0.5, 0.8, 1.0)
_FIRST_SEED = {"clean": 10_000, "planted": 20_000}


def cells(what: str) -> list[tuple[str, str, float]]:
    """(kind, shortcut, strength) of all cells; strength 0 is a clean set."""
    if what == "clean":
        return [(kind, "none", 0.0) for kind in KINDS]
    return [(kind, name, strength) for strength in STRENGTHS for kind in KINDS for name in SHORTCUTS]


def probe_set(folder: Path, kind: str, shortcut: str, strength: float, seed: int) -> dict[str, object]:
    """One set, drawn and written if it is not there yet, read and probed."""
    planted = NOTHING_PLANTED if shortcut == "none" else Planted(shortcut=shortcut, shortcut_strength=strength)
    path = folder / f"{kind}-{shortcut}-{strength:g}-{seed}"
    if not (path / "manifest.csv").exists():
        make_phantoms(kind, path, num_images=NUM_IMAGES, img_size=IMG_SIZE, seed=seed, planted=planted)
    manifest = read_dataset(path, conflicts="note")
    report = find_shortcuts(manifest, measure_images(ImageSource(manifest.root), manifest.frame))
    return {
        "kind": kind,
        "shortcut": shortcut,
        "strength": strength,
        "seed": seed,
        "alarms": [result.key for result in report.technical if result.alarm],
        "auroc": {result.key: result.auroc for result in (*report.technical, *report.trivial)},
        "num_tests": report.num_tests,
    }


def run(folder: Path, what: str, num_sets: int) -> None:
    """Probes what the results do not hold yet, the first sets of every cell first."""
    out = folder / "results.jsonl"
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line["kind"], line["shortcut"], line["strength"], line["seed"]) for line in lines}
    for number in range(num_sets):
        for cell in cells(what):
            seed = _FIRST_SEED[what] + number
            if (*cell, seed) not in done:
                with out.open("a") as stream:
                    stream.write(json.dumps(probe_set(folder, *cell, seed)) + "\n")


def table(folder: Path) -> str:
    """Counts by cell with Wilson intervals, and which probes found it."""
    found = defaultdict(list)
    for line in map(json.loads, (folder / "results.jsonl").read_text().splitlines()):
        found[line["kind"], line["shortcut"], line["strength"]].append(line)
    rows = ["| phantom | planted | strength | sets with an alarm (95 %) | found by |", "|---|---|---|---|---|"]
    for (kind, shortcut, strength), lines in sorted(found.items()):
        hits = sum(bool(line["alarms"]) for line in lines)
        low, high = wilson(hits, len(lines), quantile=float(special.ndtri(0.975)))
        by = defaultdict(int)
        for line in lines:
            for key in line["alarms"]:
                by[key] += 1
        named = ", ".join(f"{key} {count}" for key, count in sorted(by.items(), key=lambda item: -item[1])) or "-"
        share = f"{hits} of {len(lines)} ({100 * low:.1f}-{100 * high:.1f} %)"
        rows.append(f"| {kind} | {shortcut} | {strength:g} | {share} | {named} |")
    return "\n".join(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--what", choices=("clean", "planted", "table"), required=True)
    parser.add_argument("--sets", type=int, default=100, help="of every cell")
    asked = parser.parse_args()
    if asked.what != "table":
        run(asked.folder, asked.what, asked.sets)
    print(table(asked.folder))
