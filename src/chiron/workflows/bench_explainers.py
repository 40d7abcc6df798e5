"""`chiron bench explainers`: which explainer finds what was planted, in which kind of network."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import torch

from chiron.classifier import Classifier, load
from chiron.core.errors import ExplainError
from chiron.core.files import require_new, write_text
from chiron.core.registry import load_leaf
from chiron.data.phantoms.cxr import CLASS_OF_INTEREST, NAME
from chiron.data.phantoms.planted import NOTHING_PLANTED, Planted
from chiron.engine.runtime import start_runtime
from chiron.explanation.bench import bench_explainer, where_it_points
from chiron.explanation.choose import kind_of
from chiron.explanation.explain import EXPLAINERS, explainer_names, maps_of, subjects_of
from chiron.explanation.planted_images import PlantedImages, auroc_of, draw_planted, off_center
from chiron.explanation.subject import Subject
from chiron.report.explainers_page import page
from chiron.workflows.phantoms import make_phantoms
from chiron.workflows.run_folder import command_line, environment, is_run
from chiron.workflows.train import train

log = logging.getLogger("chiron.bench")
NETWORKS: dict[str, tuple[str, tuple[str, ...]]] = {  # packaged recipes, and what is changed: larger steps
    "cnn": ("phantom_cxr/fair_cnn_nano.own", ("train.epochs=14", "train.lr=3e-3")),
    "vit": ("phantom_cxr/vit_scratch_nano.own", ("train.epochs=14",)),
    "hybrid": ("phantom_cxr/h_coatnet_nano.own", ("train.epochs=5",)),
}
MIN_AUROC = 0.95  # a network that does not know the finding need not look at it
MIN_PATIENTS = 20  # with a finding off the center; fewer have no reliable interval
TRAINING_IMAGES = 2000
EVIDENCE, PAGE = "evidence.json", "explainers.md"


def bench_explainers(
    bundles: Sequence[str | Path] = (),
    *,
    methods: Sequence[str] = (),
    num_images: int = 1000,
    num_scored: int = 30,
    difficulty: float = 0.25,
    shortcut: str | None = None,
    seed: int = 1000,
    out: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Measures every explainer on phantoms with known findings off the center; see `bench_explainer`.

    Args:
        bundles: of networks that were trained on chest phantoms; without any, those of `NETWORKS` are trained here.
        methods: explainers; by default all.
        num_images: phantoms that are drawn, with and without a finding; all count for the AUROC.
        num_scored: patients whose first image gets the costly scores.
        shortcut: a planted mark that follows the class: whether maps point at it or at the finding is told.
        seed: of the phantoms; none of its patients may have been trained on.
        out: folder for the evidence and its page, and for the networks that are trained.

    Raises:
        ExplainError: a bundle is of other classes, saw these patients, or there are too few findings off the center.
    """
    if out is not None:
        require_new(Path(out), force=force)
    runtime = start_runtime(device=device, num_workers=0, threads=threads, deterministic=False)
    with TemporaryDirectory(prefix="chiron-bench-") as place:
        folder = Path(out) if out is not None else Path(place)
        places = [Path(it) for it in bundles] or _train_networks(folder, shortcut, difficulty, device, threads)
        networks = []
        for bundle in places:
            _require_unseen(bundle, seed)
            classifier = load(bundle, device=str(runtime.device))
            images = draw_planted(
                classifier, num_images=num_images, difficulty=difficulty, seed=seed, shortcut=shortcut
            )
            networks.append(_bench_network(bundle.name, classifier, images, methods, num_scored, with_marks=shortcut))
    command = command_line(hide=[Path(out) if out else None, *(Path(it) for it in bundles)])
    evidence = {
        "made": {"command": command, "date": datetime.now(UTC).date().isoformat(), **_versions()},
        "phantoms": {
            "kind": NAME,
            "seed": seed,
            "difficulty": difficulty,
            "num_images": num_images,
            "shortcut": shortcut,
        },
        "networks": networks,
    }
    if out is not None:
        write_text(Path(out) / EVIDENCE, json.dumps(evidence, indent=1, ensure_ascii=False) + "\n")
        write_text(Path(out) / PAGE, page(evidence))
    return evidence


def _train_networks(
    folder: Path, shortcut: str | None, difficulty: float, device: str, threads: int | None
) -> list[Path]:
    planted = Planted(shortcut=shortcut) if shortcut else NOTHING_PLANTED
    options: dict[str, Any] = {"difficulty": difficulty, "planted": planted, "seed": 1, "force": True}
    data = make_phantoms(NAME, folder / "phantoms", num_images=TRAINING_IMAGES, **options)
    runs = []
    for name, (recipe, changes) in NETWORKS.items():
        log.info("training the %s: %s", name, recipe)
        run = train(recipe, data, folder / name, overrides=changes, device=device, threads=threads, force=True)
        runs.append(run.path)
    return runs


def _require_unseen(bundle: Path, seed: int) -> None:
    """A run folder tells whom its network saw; of a bundle alone nobody can tell."""
    if not is_run(bundle):
        return
    ids = pl.read_csv(bundle / "manifest.csv", columns=["sample_id"], infer_schema=False)["sample_id"]
    if ids.str.starts_with(f"s{seed}-").any():
        raise ExplainError(
            f"The bench's phantoms must be new to the network. Got seed {seed}, which {bundle} was trained on. "
            "Choose another --seed."
        )


def _bench_network(
    name: str,
    classifier: Classifier,
    images: PlantedImages,
    methods: Sequence[str],
    num_scored: int,
    *,
    with_marks: str | None,
) -> dict[str, Any]:
    auroc = auroc_of(classifier, images)
    at_class = torch.from_numpy(images.targets) == classifier.labels.names.index(CLASS_OF_INTEREST)
    kept = images.rows((off_center(images.findings) & at_class).nonzero().flatten())
    if len(set(kept.patient_ids)) < MIN_PATIENTS:
        raise ExplainError(
            f"At least {MIN_PATIENTS} patients must have a finding off the center. Got {len(set(kept.patient_ids))}. "
            "Draw more with --images."
        )
    subject = _subject_of(classifier, kept)
    counts = auroc.value is not None and auroc.value >= MIN_AUROC
    told = {
        "name": name,
        "model": type(subject.network).__name__,
        "kind": kind_of(subject),
        "img_size": classifier.input_spec.img_size,
        "auroc": asdict(auroc),
        "counts": counts,
        "num_images": len(kept),
        "num_patients": len(set(kept.patient_ids)),
    }
    log.info("%s (%s): AUROC %.3f, %d images%s", name, told["kind"], auroc.value, len(kept), "" if counts else _TOO_LOW)
    found, left_out = {}, {}
    for method in methods or explainer_names():
        leaf, start = load_leaf(EXPLAINERS, method, kind="explainer"), time.perf_counter()
        try:
            result = bench_explainer(method, subject, kept.findings, kept.patient_ids, num_scored=num_scored)
        except ExplainError as error:
            left_out[method] = str(error)
            continue
        found[method] = {
            "title": leaf.TITLE,
            "class_specific": leaf.CLASS_SPECIFIC,
            "cost": leaf.COST,
            **asdict(result),
        }
        if with_marks:
            maps = maps_of([subject], method)
            found[method]["where"] = _plain(where_it_points(maps, kept.findings, kept.marks, kept.patient_ids))
        hits = result.estimates["pointing"].value
        log.info("  %s: hit rate %.2f, %.0f s", method, hits, time.perf_counter() - start)
    return told | {"explainers": found, "left_out": left_out}


_TOO_LOW = f"; below {MIN_AUROC}, so that it does not count as evidence"


def _subject_of(classifier: Classifier, images: PlantedImages) -> Subject:
    subjects = subjects_of(classifier, images.stored, torch.from_numpy(images.targets))
    if len(subjects) > 1:
        raise ExplainError(f"A bundle must hold one network here. Got {len(subjects)}. Give one of a single network.")
    return subjects[0]


def _plain(where: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, str) else asdict(value) for name, value in where.items()}


def _versions() -> dict[str, Any]:
    known = environment()
    return {name: known[name] for name in ("chiron", "libraries", "git_commit")}
