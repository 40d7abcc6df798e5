"""How many planted copies are found, how many different pictures are taken for copies, how long it takes, how it grows.

    python benchmarks/near_duplicates.py growth HAM10000.zip
    python benchmarks/near_duplicates.py recall HAM10000.zip KERMANY.zip

Copies are planted among the images of each data set, every one of another image. Groups are dealt into two halves: a
threshold may be fitted on the first and is judged on the second. Prints the tables of
docs/reference/near-duplicates.md.
"""

import hashlib
import io
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from chiron.data.copies.candidates import find_candidates
from chiron.data.copies.find import CONFIRMED_FROM, ScoredPair, grade, score_pairs
from chiron.data.copies.thumbnail import thumbnail
from chiron.data.groups import connected_groups
from chiron.data.reading import read_dataset
from chiron.data.source import ImageSource
from chiron.preprocess.decode import CanonicalImage, decode_image

PLANTED = 300  # copies of each kind
THRESHOLDS = (0.50, 0.54, 0.58, 0.60, 0.62, 0.64, 0.66, 0.68, 0.70, 0.72, 0.74, 0.76, 0.78, 0.80, 0.85, 0.90, 0.95)

# Pairs of HAM10000 that show one picture under two lesion ids.
# Source: Abhishek, Jain and Hamarneh 2025, Scientific Data 12:196.
_LISTED = """
0033481-0033421 0033556-0032634 0029152-0033173 0029036-0027027 0027820-0028209 0027689-0032647
0030906-0024879 0033391-0034186 0025226-0030074 0026087-0025664 0024736-0029748 0024770-0027811
0027162-0029061 0024602-0032283 0029625-0024629 0030000-0031392 0024437-0031299 0033374-0033417
"""
LISTED = {frozenset(f"ISIC_{number}" for number in pair.split("-")) for pair in _LISTED.split()}


def crop(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """90 % of each side, at a random place."""
    width, height = round(image.width * 0.9), round(image.height * 0.9)
    left = int(random.integers(image.width - width + 1))
    top = int(random.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def brightened(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """20 % darker or brighter; what is too bright becomes white."""
    factor = random.choice([0.8, 1.2])
    return image.point(lambda value: min(255, value * factor))


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "re-encoded": lambda image, random: image,
    "half size": lambda image, random: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "brightness": brightened,
    "flipped": lambda image, random: (ImageOps.mirror, ImageOps.flip)[int(random.integers(2))](image),
    "rotated 90": lambda image, random: image.rotate(random.choice([90, 270]), expand=True),
    "cropped": crop,
}


def planted_copy(image: CanonicalImage, kind: str, random: np.random.Generator) -> CanonicalImage:
    """The changed image after JPEG: quality 30 to 95 for `re-encoded`, 90 for the others."""
    quality = int(random.integers(30, 96)) if kind == "re-encoded" else 90
    changed = KINDS[kind](Image.fromarray(image.squeeze()), random)
    file = io.BytesIO()
    changed.save(file, "JPEG", quality=quality)
    return decode_image(file.getvalue())


@dataclass
class Trial:
    """A data set with planted copies and the scores of all its candidate pairs."""

    ids: list[str]
    groups: list[str]
    pixels: list[str]
    source: list[int]  # row of the image that a row was made from; its own for images of the set
    kinds: list[str]
    scored: list[ScoredPair]

    @property
    def num_images(self) -> int:
        return self.kinds.count("")

    def half(self, row: int) -> int:
        return hashlib.sha256(self.groups[row].encode()).digest()[0] % 2

    def originals(self) -> list[ScoredPair]:
        return [pair for pair in self.scored if pair.candidate.second < self.num_images]


def tried(path: Path, kinds: list[str]) -> Trial:
    """Reads the set, plants the copies, scores all candidates and prints the times."""
    manifest = read_dataset(path)
    images = ImageSource(manifest.root)
    frame = manifest.frame.sort("sample_id")
    num_images = len(frame)
    random = np.random.default_rng(0)
    chosen = random.permutation(num_images)[: PLANTED * len(kinds)]
    source = [*range(num_images), *chosen.tolist()]
    kind_of = [""] * num_images + [kinds[k % len(kinds)] for k in range(len(chosen))]
    paths = frame["path"].to_list()

    def load(row: int) -> CanonicalImage:
        image = images.decode(paths[source[row]])
        return planted_copy(image, kind_of[row], np.random.default_rng(row)) if kind_of[row] else image

    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        thumbnails = np.stack(list(pool.map(lambda row: thumbnail(load(row)), range(len(source)))))
    seen = time.perf_counter()
    num_candidates = len(find_candidates(thumbnails[:num_images]))
    looked_up, cpu = time.perf_counter(), time.process_time()
    scored = score_pairs(thumbnails, load)
    done, cpu = time.perf_counter(), time.process_time() - cpu
    print(f"\n## {path.name}: {num_images:,} images, {len(chosen):,} planted copies\n")
    print(f"Decoding and thumbnails of all {len(source):,}: {seen - started:.0f} s.")
    print(f"Candidates among the images alone: {num_candidates:,} pairs in {looked_up - seen:.0f} s.")
    print(
        f"Candidates and registration with the planted copies: {len(scored):,} pairs "
        f"in {done - looked_up:.0f} s, {cpu:.0f} s of one core."
    )
    # by ids and equal pixels alone: group_id joins what was found to be a copy
    columns = [frame[name].to_list() for name in (*manifest.id_certainty, "pixels_sha256")]
    groups, pixels = connected_groups(frame["sample_id"].to_list(), columns), frame["pixels_sha256"].to_list()
    return Trial(
        [*frame["sample_id"], *(f"planted {row}" for row in range(num_images, len(source)))],
        [groups[row] for row in source],
        [pixels[row] if not kind else "" for row, kind in zip(source, kind_of, strict=True)],
        source,
        kind_of,
        scored,
    )


def scores_of_planted(trial: Trial) -> dict[int, float]:
    """Best score of each planted copy with its source or an image of the same pixels; 0 where it was no candidate."""
    best = dict.fromkeys((row for row, kind in enumerate(trial.kinds) if kind), 0.0)
    for pair in trial.scored:
        for copy, other in (
            (pair.candidate.first, pair.candidate.second),
            (pair.candidate.second, pair.candidate.first),
        ):
            if copy in best and trial.pixels[other] == trial.pixels[trial.source[copy]]:
                best[copy] = max(best[copy], pair.score)
    return best


def is_false(trial: Trial, pair: ScoredPair) -> bool:
    a, b = pair.candidate.first, pair.candidate.second
    listed = frozenset((trial.ids[a], trial.ids[b])) in LISTED
    return trial.groups[a] != trial.groups[b] and not listed


def print_curve(trial: Trial, kinds: list[str], halves: tuple[int, ...], title: str) -> None:
    """Recall by kind and false pairs per 1,000 images, for every threshold."""
    planted = scores_of_planted(trial)
    images = sum(trial.half(row) in halves for row in range(trial.num_images))
    false = [pair for pair in trial.originals() if is_false(trial, pair) and trial.half(pair.candidate.first) in halves]
    print(f"\n### {title}\n\n| threshold | {' | '.join(kinds)} | false pairs | per 1,000 images |")
    print("|" + "---|" * (len(kinds) + 3))
    for threshold in THRESHOLDS:
        recalls = []
        for kind in kinds:
            scores = [planted[row] for row in planted if trial.kinds[row] == kind and trial.half(row) in halves]
            recalls.append(f"{np.mean(np.array(scores) >= threshold):.3f}")
        count = sum(pair.score >= threshold for pair in false)
        print(f"| {threshold:.2f} | {' | '.join(recalls)} | {count} | {1000 * count / images:.2f} |")


def print_pairs(trial: Trial) -> None:
    """The listed pairs that are present, and what stands among confirmed and suspect pairs without planted copies."""
    ids = trial.ids[: trial.num_images]
    found = grade(ids, trial.originals())
    row_of = {name: row for row, name in enumerate(ids)}
    told = {frozenset(pair.sample_ids): pair for pair in found}
    scores = {frozenset((ids[p.candidate.first], ids[p.candidate.second])): p.score for p in trial.originals()}
    present = [pair for pair in LISTED if pair <= row_of.keys()]
    if present:
        print("\n### Listed pairs\n\n| pair | score | grade |\n|---|---|---|")
        for pair in sorted(present, key=sorted):
            verdict = "missed" if pair not in told else "confirmed" if told[pair].confirmed else "suspect"
            score = f"{scores[pair]:.3f}" if pair in scores else "no candidate"
            print(f"| {' '.join(sorted(pair))} | {score} | {verdict} |")
    same = [trial.groups[row_of[a]] == trial.groups[row_of[b]] for a, b in (pair.sample_ids for pair in found)]
    sure = [pair.confirmed for pair in found]
    print(f"\nConfirmed: {sum(sure):,} pairs, {sum(s and c for s, c in zip(same, sure, strict=True)):,} of one group.")
    print(f"Suspect: {len(found) - sum(sure):,} pairs; the lowest score is {found[-1].score:.3f}.")
    print("\nConfirmed pairs of different groups:")
    for pair, one_group in zip(found, same, strict=True):
        if pair.confirmed and not one_group:
            print(f"- {' '.join(pair.sample_ids)}: {pair.score:.3f}, {pair.view}")


def print_growth(path: Path) -> None:
    """Time of the candidate stage for sets of resampled thumbnails: two blended at random, with noise."""
    manifest = read_dataset(path)
    images = ImageSource(manifest.root)
    with ThreadPoolExecutor(2) as pool:
        real = np.stack(list(pool.map(lambda name: thumbnail(images.decode(name)), manifest.frame["path"])))
    print("| images | seconds | CPU seconds | peak memory, GB | pairs |\n|---|---|---|---|---|")
    for count in (1_000, 3_000, 10_000, 30_000, 100_000):
        random = np.random.default_rng(0)
        thumbnails = np.empty((count, 16, 16, 3), np.uint8)
        for place, (one, other) in enumerate(random.integers(len(real), size=(count, 2))):
            blended = 0.75 * real[one] + 0.25 * real[other] + random.normal(0, 3, real[one].shape)
            thumbnails[place] = blended.clip(0, 255)
        started, cpu = time.perf_counter(), time.process_time()
        pairs = len(find_candidates(thumbnails))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| {count:,} | {seconds:.1f} | {cpu:.1f} | {memory:.1f} | {pairs:,} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "growth":
        print_growth(Path(sys.argv[2]))
    else:
        for data in map(Path, sys.argv[2:]):
            # Nobody turns a chest radiograph by 90 degrees and keeps it in the set.
            names = [name for name in KINDS if name != "rotated 90" or "kermany" not in data.name]
            trial = tried(data, names)
            print_curve(trial, names, (0,), "First half (thresholds may be fitted here)")
            print_curve(trial, names, (1,), "Second half")
            print_curve(trial, names, (0, 1), f"All; confirmed from {CONFIRMED_FROM}")
            print_pairs(trial)
