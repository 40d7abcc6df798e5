"""`chiron demo`: the main job on phantoms, in one process, without any data at hand."""

import logging
from pathlib import Path
from typing import Any

from chiron.bundle import read_bundle
from chiron.core.errors import SpecError
from chiron.core.files import require_new
from chiron.data.cache import CACHE_FOLDER
from chiron.workflows.evaluate import evaluate_run
from chiron.workflows.phantoms import make_phantoms
from chiron.workflows.predict import predict
from chiron.workflows.run_folder import RunFolder
from chiron.workflows.train import train

log = logging.getLogger("chiron.demo")

HYBRID, BASELINE = "phantom_cxr/h_coatnet_nano.own", "phantom_cxr/fair_cnn_nano.own"
NUM_IMAGES, IMG_SIZE = 2000, 96
_OWN = {
    "phantoms",
    "phantoms-truth",
    "hybrid",
    "baseline",
    "predictions.csv",
    "test_ledger.jsonl",
    "sharing_key",
    CACHE_FOLDER,
}


def demo(
    out: str | Path, *, seed: int = 0, device: str = "auto", threads: int | None = None, force: bool = False
) -> dict[str, Any]:
    """Draws phantoms, trains the hybrid and the CNN, evaluates, predicts and reports; returns both test AUROCs.

    Args:
        seed: of the training; the phantoms are the same for every seed.
        force: replace an earlier demo at `out`; its test ledger stays and grows.
    """
    folder = Path(out)
    require_new(folder, force=force)
    strangers = {path.name for path in folder.iterdir()} - _OWN if folder.is_dir() else set()
    if strangers:
        raise SpecError(f"--force replaces only an earlier demo. Got {sorted(strangers)[0]} in {folder}. Choose --out.")
    log.info("1/4 drawing %d phantom radiographs of %d px", NUM_IMAGES, IMG_SIZE)
    phantoms = make_phantoms("phantom-cxr", folder / "phantoms", num_images=NUM_IMAGES, img_size=IMG_SIZE, force=True)
    options: dict[str, Any] = {
        "overrides": (f"train.seed={seed}",),
        "score_test": True,
        "force": True,
        "device": device,
        "threads": threads,
    }
    log.info("2/4 training the CNN baseline")
    baseline = train(BASELINE, phantoms, folder / "baseline", **options)
    log.info("3/4 training the hybrid")
    hybrid = train(HYBRID, phantoms, folder / "hybrid", **options)
    log.info("4/4 predicting and writing the report")
    rows = [_row(baseline, "CNN baseline")]
    report = evaluate_run(hybrid, split="test", others=rows).report
    images = sorted((phantoms / "images").glob("*.png"))[:8]
    predict(hybrid.bundle, images, out=folder / "predictions.csv", force=True, device=device, threads=threads)
    models = [_row(hybrid, "H-CoAtNet nano"), *rows]
    return {
        "models": [
            {"name": row["name"], "params": row["params"], "auroc": row["evaluation"]["overall"]["auroc"]}
            for row in models
        ],
        "report": str(report),
        "predictions": str(folder / "predictions.csv"),
    }


def _row(run: RunFolder, name: str) -> dict[str, Any]:
    """One model of the comparison, from what its run stored."""
    provenance = read_bundle(run.bundle)[1].provenance
    return {
        "name": name,
        "params": provenance.num_parameters,
        "init": provenance.init,
        "evaluation": run.read_metrics(),
    }
