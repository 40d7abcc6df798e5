"""How fast files become rows: one by one, in batches, and in batches with decoding ahead of the network.

    python benchmarks/predict_files.py BUNDLE IMAGES [--images 500] [--rounds 3] [--threads 1]

All three run in every round, so that what else the machine does meets all of them; told are images a second of the
median round, with the slowest and fastest, and ratios to one by one of the same round.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from chiron.predictor import Inputs, Predictor, find_inputs
from chiron.scorer import Scorer
from chiron.workflows.predict import load_scorer

BATCH = 32


def one_by_one(scorer: Scorer, inputs: list) -> None:
    """Decode, score, read out, image by image."""
    for item in inputs:
        scorer.predict(item.decode(scorer.input_spec))


def in_batches(scorer: Scorer, inputs: list) -> None:
    """A batch is decoded, then scored."""
    stream = iter(inputs)
    while batch := list(islice(stream, BATCH)):
        scorer.read_out(scorer.outputs_of([scorer.open(it.decode(scorer.input_spec)) for it in batch]))


def ahead(scorer: Scorer, inputs: list) -> None:
    """What `chiron predict` does."""
    for _ in Predictor(scorer, batch_size=BATCH).rows(inputs):
        pass


def measure(scorer: Scorer, inputs: list, rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Seconds of each way in each round."""
    ways: dict[str, Callable[[Scorer, list], None]] = {
        "one by one": one_by_one,
        "batches": in_batches,
        "batches, decoded ahead": ahead,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(scorer, inputs[:BATCH])
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way(scorer, inputs)
            seconds[name].append(time.perf_counter() - started)
    yield from seconds.items()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--images", dest="count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    found: Inputs = find_inputs(given.images)
    picked = list(islice(found, given.count))
    told = dict(measure(load_scorer(given.bundle, device="cpu", threads=given.threads), picked, given.rounds))
    base = told["one by one"]
    print(f"{len(picked)} images, batch {BATCH}, {given.rounds} rounds")
    print("| way | images a second, median (slowest-fastest) | times one by one |")
    print("|---|---|---|")
    for name, own in told.items():
        rates = sorted(len(picked) / it for it in own)
        ratios = sorted(first / it for first, it in zip(base, own, strict=True))
        print(
            f"| {name} | {statistics.median(rates):.0f} ({rates[0]:.0f}-{rates[-1]:.0f}) | "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) |"
        )
