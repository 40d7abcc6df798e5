"""Which score tells that an image is none that a network was made for: simple ones side by side.

    python benchmarks/out_of_scope.py RUN [RUN ...] [--others NAME=PATH ...] [--images 400]

Each RUN is a trained run whose manifest has train, cal (else val) and test. A score is fitted on what the classifier
sees of at most 2,000 training images, its limit is the 99th percentile of cal, and test images stand against others:
images of `--others` (a folder or a zip, of another modality for example), and test images inverted, in gray, strongly
blurred (Gaussian, a sixteenth of the side), of shuffled tiles, of noise, and of smooth random texture. Printed: AUROC
of others over test with its 95 % interval, and the share beyond the limit. Images count as independent here. The test
split is not scored against its labels, so no look at it is entered.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional

from chiron.classifier import Classifier, load
from chiron.data.dataset import to_tensor
from chiron.data.image_names import is_image_name
from chiron.data.manifest import Manifest
from chiron.data.source import ImageSource
from chiron.decide.probabilities import softmax
from chiron.metrics.intervals.auroc import auroc_interval
from chiron.metrics.scores.auroc import auroc
from chiron.models.scope import ScopeDistance
from chiron.preprocess.looks import looks_of
from chiron.preprocess.resize import canonical_resize
from chiron.referral import problems_of, scope_of
from chiron.spec.scope import ScopeSpec
from chiron.workflows.scope import fit_scope

MOST_TRAIN = 2000
Seen = tuple[np.ndarray, np.ndarray, np.ndarray]  # features, logits and statistics of the picture
Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # of the three: larger is more unlike


def spread_out(names: list[str], count: int) -> list[str]:
    """At most so many, evenly from the list."""
    return [names[k] for k in np.linspace(0, len(names) - 1, min(count, len(names))).astype(int)]


def images_of(classifier: Classifier, root: Path, names: list[str]) -> list[np.ndarray]:
    """Decoded images."""
    source = ImageSource(root)
    return [source.decode(name, min_side=classifier.input_spec.decode_min_side) for name in names]


def inputs_of(classifier: Classifier, images: list[np.ndarray]) -> Iterator[tuple[torch.Tensor, ...]]:
    """What the network is given, in batches."""
    for start in range(0, len(images), 64):
        stored = [canonical_resize(image, classifier.input_spec) for image in images[start : start + 64]]
        yield classifier.finish(torch.stack([to_tensor(image) for image in stored]))


@torch.inference_mode()
def seen(classifier: Classifier, images: list[np.ndarray]) -> Seen:
    """Features before the classifier, logits, and statistics of the picture, of each image."""
    network, found = classifier.networks[0], []
    for inputs in inputs_of(classifier, images):
        maps = network.forward_features(*inputs)
        features = network.forward_head(maps, pre_logits=True).flatten(1)
        found.append((features, network.forward_head(maps), picture(inputs[0])))
    return tuple(torch.cat(each).double().numpy() for each in zip(*found, strict=True))


def picture(x: torch.Tensor) -> torch.Tensor:
    """A thumbnail of 8 x 8, and of each channel how much of it lies in details of four sizes, as logarithms."""
    parts = [functional.adaptive_avg_pool2d(x, 8).flatten(1)]
    for _ in range(4):
        if min(x.shape[-2:]) < 4:
            break
        coarse = functional.avg_pool2d(x, 2)
        fine = x[..., : 2 * coarse.shape[-2], : 2 * coarse.shape[-1]] - functional.interpolate(coarse, scale_factor=2)
        parts.append(torch.log(fine.square().mean(dim=(2, 3)) + 1e-6))
        x = coarse
    return torch.cat(parts, dim=1)


def mahalanobis(x: np.ndarray, classes: np.ndarray, *, kept: int, by_class: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Distance to the nearest mean, in `kept` main directions of the deviations from it; the rest in one variance."""
    groups = np.unique(classes) if by_class else [None]
    means = np.stack([x[classes == it].mean(axis=0) if by_class else x.mean(axis=0) for it in groups])
    own = means[np.searchsorted(groups, classes)] if by_class else means
    values, axes = np.linalg.eigh(np.cov((x - own).T) + 1e-12 * np.eye(x.shape[1]))
    order = np.argsort(-values)[: min(kept, x.shape[1], len(x) // 10)]
    rest = max(float(values.sum() - values[order].sum()) / max(x.shape[1] - len(order), 1), 1e-6 * float(values.max()))
    variance = np.maximum(values[order], rest)

    def score(y: np.ndarray) -> np.ndarray:
        each = []
        for mean in means:
            inside = (y - mean) @ axes[:, order]
            outside = ((y - mean) ** 2).sum(axis=1) - (inside**2).sum(axis=1)
            each.append((inside**2 / variance).sum(axis=1) + np.maximum(outside, 0) / rest)
        return np.sqrt(np.min(each, axis=0))

    return score


def nearest(x: np.ndarray, *, neighbors: int, length_one: bool, kept: int = 500) -> Callable[[np.ndarray], np.ndarray]:
    """Distance to the k-th nearest of kept training images."""

    def shaped(y: np.ndarray) -> np.ndarray:
        return y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-9) if length_one else y

    prototypes = shaped(x[np.linspace(0, len(x) - 1, min(kept, len(x))).astype(int)])

    def score(y: np.ndarray) -> np.ndarray:
        squares = (shaped(y) ** 2).sum(1)[:, None] + (prototypes**2).sum(1) - 2 * shaped(y) @ prototypes.T
        return np.sqrt(np.maximum(np.sort(squares, axis=1)[:, neighbors - 1], 0))

    return score


def scores_of(train: Seen, classes: np.ndarray) -> Iterator[tuple[str, Score]]:
    """Name and score, fitted on training images."""
    x, _, looks = train
    of_features = {
        "features: Mahalanobis, one mean": mahalanobis(x, classes, kept=10**6, by_class=False),
        "features: Mahalanobis, a mean a class": mahalanobis(x, classes, kept=10**6, by_class=True),
        "features: 64 directions, one mean": mahalanobis(x, classes, kept=64, by_class=False),
        "features: 64 directions, a mean a class": mahalanobis(x, classes, kept=64, by_class=True),
        "features: 5th of 500 neighbors": nearest(x, neighbors=5, length_one=False),
        "features: 5th of 500 neighbors, length 1": nearest(x, neighbors=5, length_one=True),
    }
    of_looks = {
        "picture: Mahalanobis, one mean": mahalanobis(looks, classes, kept=10**6, by_class=False),
        "picture: 5th of 500 neighbors": nearest(looks / looks.std(axis=0), neighbors=5, length_one=False),
    }
    for name, score in of_features.items():
        yield name, lambda y, z, w, score=score: score(y)
    one, each = of_features["features: Mahalanobis, one mean"], of_features["features: Mahalanobis, a mean a class"]
    yield "features: relative Mahalanobis", lambda y, z, w: each(y) ** 2 - one(y) ** 2
    yield "outputs: 1 - largest probability", lambda y, z, w: 1 - softmax(z).max(axis=1)
    yield "outputs: energy", lambda y, z, w: -np.logaddexp.reduce(z, axis=1)
    for name, score in of_looks.items():
        scale = looks.std(axis=0) if "neighbors" in name else 1.0
        yield name, lambda y, z, w, score=score, scale=scale: score(w / scale)


def changed(images: list[np.ndarray], random: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """What test images become, and pictures of nothing."""
    made: dict[str, list[np.ndarray]] = {"inverted": [255 - image for image in images]}
    for image in images:
        height, width, channels = image.shape
        made.setdefault("blurred", []).append(cv2.GaussianBlur(image, (0, 0), width / 16).reshape(image.shape))
        h, w = height // 4, width // 4
        tiles = [image[k // 4 * h :][:h, k % 4 * w :][:, :w] for k in random.permutation(16)]
        made.setdefault("tiles", []).append(np.vstack([np.hstack(tiles[row : row + 4]) for row in range(0, 16, 4)]))
        made.setdefault("noise", []).append(random.integers(0, 256, image.shape, dtype=np.uint8))
        coarse = random.integers(0, 256, (7, 7, channels), dtype=np.uint8)
        made.setdefault("smooth texture", []).append(cv2.resize(coarse, (width, height)).reshape(image.shape))
        if channels == 3:
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            made.setdefault("gray", []).append(np.repeat(gray[..., None], 3, axis=2))
    return made


def compare(run: Path, others: dict[str, Path], count: int) -> None:
    """One table a run."""
    classifier, manifest = load(run), Manifest.load(run)
    fitting = "cal" if manifest.select("cal").frame.height else "val"
    parts = {split: manifest.select(split).frame for split in ("train", fitting, "test")}
    most = {"train": MOST_TRAIN, fitting: MOST_TRAIN, "test": count}
    picked = {split: spread_out(frame["path"].to_list(), most[split]) for split, frame in parts.items()}
    label_of = dict(zip(parts["train"]["path"], parts["train"]["label"], strict=True))
    classes = np.array([label_of[path] for path in picked["train"]])
    test = images_of(classifier, manifest.root, picked["test"])
    train, cal = (seen(classifier, images_of(classifier, manifest.root, picked[it])) for it in ("train", fitting))
    asked = changed(test, np.random.default_rng(0))
    for name, path in others.items():
        names = spread_out([it for it in ImageSource(path).names() if is_image_name(it)], count)
        asked[name] = images_of(classifier, path, names)
    own, outside = seen(classifier, test), {name: seen(classifier, images) for name, images in asked.items()}
    spec, distance = fit_scope(manifest, classifier.input_spec, fitting, percent=99)
    print(
        f"\n{run.name}: {classifier.network_spec.name}, {train[0].shape[1]} features, {len(train[0])} train, "
        f"{len(cal[0])} {fitting}, {len(test)} test"
    )
    print(f"| score | test beyond | {' | '.join(outside)} |")
    print("|---" * (2 + len(outside)) + "|")
    for name, score in scores_of(train, classes):
        limit = float(np.quantile(score(*cal), 0.99))
        say(name, score(*own), {other: score(*found) for other, found in outside.items()}, limit)
    measured = {name: measure(classifier, distance, images) for name, images in {"test": test, **asked}.items()}
    within = measured.pop("test")
    say("**Chiron's**: nearest of 32 centers, or details", within, measured, spec.quantiles[0][99])
    flagged = [f"{flagged_share(classifier, spec, distance, images):.2f}" for images in (test, *asked.values())]
    print(f"| the same with plain checks: share out of scope | {' | '.join(flagged)} |", flush=True)


@torch.inference_mode()
def measure(classifier: Classifier, distance: ScopeDistance, images: list[np.ndarray]) -> np.ndarray:
    """Chiron's distances."""
    return torch.cat([distance(inputs[0]) for inputs in inputs_of(classifier, images)]).double().numpy()


def flagged_share(classifier: Classifier, spec: ScopeSpec, distance: ScopeDistance, images: list[np.ndarray]) -> float:
    """Images that are out of scope by distance or by what is seen of them without any network."""
    problems = [problems_of(looks_of(image), spec, classifier.input_spec) for image in images]
    distances = measure(classifier, distance, images)
    scopes = [scope_of(np.array([it]), told, spec) for it, told in zip(distances, problems, strict=True)]
    return float(np.mean([not scope.in_scope for scope in scopes]))


def say(name: str, within: np.ndarray, beyond: dict[str, np.ndarray], limit: float) -> None:
    """One row: the share of test beyond the limit, then AUROC and share of each of the others."""
    cells = [f"{(within > limit).mean():.3f}"]
    for found in beyond.values():
        positive, values = np.repeat([False, True], [len(within), len(found)]), np.append(within, found)
        span = auroc_interval(positive, values, np.arange(len(values)))
        area, share = auroc(positive.astype(int), values), (found > limit).mean()
        cells.append(f"{area:.3f} ({span.low:.3f}-{span.high:.3f}), {share:.2f}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--others", nargs="*", default=[], metavar="NAME=PATH")
    parser.add_argument("--images", type=int, default=400)
    given = parser.parse_args()
    named = dict(other.split("=", 1) for other in given.others)
    for one in given.runs:
        compare(one, {name: Path(path) for name, path in named.items()}, given.images)
