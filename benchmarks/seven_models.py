"""The models of the ichthyosis system under its one fair protocol, on any data set, as one table with intervals.

    python benchmarks/seven_models.py ham10000.zip --out runs/seven --small --epochs 12
    python benchmarks/seven_models.py ham10000.zip --out runs/seven-full --seeds 0 1 2

`--small` takes small variants at 64 px for a processor; without it the full models train at 224 px, as on a GPU.
Split, images, augmentation, epochs, optimizer, selection and init are those of `ichthyosis/*.corrected`, equal for all.
A run that is there already is not trained again. The test split is scored once a run. One seed ranks nothing.
"""

import argparse
from pathlib import Path
from statistics import mean

from chiron.core.process import prepare_process
from chiron.models.describe import describe_model
from chiron.workflows.run_folder import RunFolder, is_run, open_run
from chiron.workflows.train import train

RECIPE = "ichthyosis/h_coatnet.corrected"
FULL = {
    "H-CoAtNet": ("chiron_h_coatnet", {}),
    "H-CoAtNet corrected": ("chiron_h_coatnet_corrected", {}),
    "CNN": ("chiron_fair_cnn", {}),
    "EfficientNet-B0": ("efficientnet_b0", {}),
    "ViT": ("chiron_vit_scratch", {}),
    "Swin-T": ("swin_tiny_patch4_window7_224", {"drop_path_rate": 0}),
    "CoAtNet-0": ("coatnet_0_224", {}),
    "ConvNeXt-T (the code's CoAtNet)": ("convnext_tiny", {}),
    "GFT corrected": ("chiron_gft_corrected", {}),
}
SMALL = {
    "H-CoAtNet nano": ("chiron_h_coatnet_nano", {}),
    "H-CoAtNet corrected nano": ("chiron_h_coatnet_corrected_nano", {}),
    "CNN nano": ("chiron_fair_cnn_nano", {}),
    "EfficientNet-B0": ("efficientnet_b0", {}),
    "ViT nano": ("chiron_vit_scratch_nano", {}),
    "Swin, small": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 32, "depths": [2, 2, 2], "num_heads": [2, 4, 8], "window_size": 4, "drop_path_rate": 0},
    ),
    "CoAtNet, small": (
        "coatnet_nano_rw_224",
        {"embed_dim": [32, 64, 96, 128], "depths": [1, 1, 2, 1], "stem_width": [16, 32]},
    ),
    "ConvNeXt, small (the code's CoAtNet)": ("convnext_atto", {"depths": [1, 1, 3, 1], "dims": [24, 48, 96, 192]}),
    "GFT corrected nano": ("chiron_gft_corrected_nano", {}),
}
METRICS = ("macro_auroc", "accuracy", "balanced_accuracy", "macro_f1")


def settings(name: str, model_args: dict, *, img_size: int, epochs: int, seed: int) -> tuple[str, ...]:
    """What changes in the recipe: the model, and what belongs to the data set of the recipe."""
    return (
        f"model.name={name}",
        f"model.args={model_args}",
        f"input.img_size={img_size}",
        f"input.canonical_size={round(img_size * 8 / 7)}",
        f"train.epochs={epochs}",
        f"train.seed={seed}",
        "labels.descriptions={}",
        "intended_use={}",
        f"about=one protocol for all, {name}",
    )


def told(estimate: dict) -> str:
    """`value (low-high)`, with a star where there are too few cases for a reliable interval."""
    if estimate["value"] is None:
        return "null"
    if estimate["low"] is None:
        return f"{estimate['value']:.3f} (no interval)"
    star = "*" if str(estimate.get("note") or "").startswith("too few") else ""
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f}){star}"


def finished(folder: Path) -> RunFolder | None:
    """The run at `folder` if it is done."""
    run = open_run(folder) if is_run(folder) else None
    return run if run is not None and run.read_facts().get("status") == "finished" else None


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", nargs="+")
    asked = parser.parse_args()
    models, img_size = (SMALL, 64) if asked.small else (FULL, 224)
    data, rows = asked.data, []
    for title, (name, model_args) in models.items():
        if asked.models and name not in asked.models:
            continue
        for seed in asked.seeds:
            folder = asked.out / f"{name}-{seed}"
            run = finished(folder)
            if run is None:
                changes = settings(name, model_args, img_size=img_size, epochs=asked.epochs, seed=seed)
                run = train(RECIPE, data, folder, overrides=changes, score_test=True, force=True)
            rows.append((title, seed, name, model_args, run))
            data = run.path / "manifest.csv"  # read, searched for copies and split once, for all
    metrics = rows[0][4].read_metrics()
    print(f"\n{metrics['num_images']:,} test images in {metrics['num_groups']:,} groups; {img_size} px, "
          f"{asked.epochs} epochs, init scratch for all\n")  # fmt: skip
    heads = ("model", "seed", "parameters", "MMACs", *METRICS, "best epoch", "s an epoch")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    majority = metrics["baselines"]["majority_class"]
    print(f"| always `{majority['class']}` | | 0 | 0 | 0.5 | {told(majority['accuracy'])} "
          f"| {told(majority['balanced_accuracy'])} | | | |")  # fmt: skip
    for title, seed, name, model_args, run in rows:
        overall = run.read_metrics()["overall"]
        about = describe_model(name, num_classes=len(metrics["classes"]), img_size=img_size, **model_args)
        pace = mean(row["seconds"] for row in run.read_history())
        print(f"| {title} | {seed} | {about.num_parameters:,} | {about.num_macs / 1e6:.0f} | "
              + " | ".join(told(overall[metric]) for metric in METRICS)
              + f" | {run.read_facts()['best_epoch']} | {pace:.0f} |")  # fmt: skip


if __name__ == "__main__":
    prepare_process()
    main()
