"""What the processes of a test's job do together, by function name, and how a job is started."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from killed_runs import fork, ranks, write_errors_to

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]


def run_job(name: str, folder: Path, *, size: int = 2, **arguments: Any) -> list[Any]:
    """What the function `name` of this file returns in each of `size` processes."""
    errors = [folder / f"{name}-{rank}-of-{size}.txt" for rank in range(size)]
    processes = [
        fork(_work, name, str(folder), arguments, environment, str(file))
        for environment, file in zip(ranks(size), errors, strict=True)
    ]
    for process in processes:
        process.join(timeout=300)
    told = "\n".join(file.read_text() for file in errors)
    assert [process.exitcode for process in processes] == [0] * size, told
    return [json.loads((folder / f"{name}-{rank}-of-{size}.json").read_text()) for rank in range(size)]


def _work(name: str, folder: str, arguments: dict[str, Any], environment: dict[str, str], errors: str) -> None:
    write_errors_to(errors)
    os.environ.update(environment)
    result = globals()[name](folder, **arguments)
    Path(folder, f"{name}-{environment['RANK']}-of-{environment['WORLD_SIZE']}.json").write_text(json.dumps(result))


def fit_steps(folder: str, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The loop alone, once with each of the changes: loss of each step, last val numbers, and the final weights."""
    import torch

    from chiron.core.hashing import sha256_bytes
    from chiron.engine import fit as loop
    from chiron.engine.runtime import start_runtime
    from chiron.workflows.check import check_recipe
    from chiron.workflows.data import prepare

    results, plain = [], loop.take_step
    for change in changes:
        recipe = check_recipe(f"{folder}/recipe.yaml", tuple(change["set"]))
        manifest, labels = prepare(recipe, Path(folder) / "data")
        losses: list[float] = []

        def step(*args: Any, losses: list[float] = losses) -> Any:
            result = plain(*args)
            losses.append(float(result.losses[0]))
            return result

        loop.take_step = step
        runtime = start_runtime(device="cpu", threads=1)
        place = Path(change["checkpoints"]) if "checkpoints" in change else None
        kept: dict[str, Any] = {"checkpoints": place, "logs": Path(change["logs"]) if "logs" in change else None}
        fitted = loop.fit(recipe, manifest, labels, runtime=runtime, on_epoch=lambda history: None, **kept)
        weights = fitted.network.state_dict()
        row = fitted.progress.history[-1]
        results.append(
            {
                "losses": losses,
                "values": {key: value for key, value in row.items() if key.startswith("val_")},
                "first_weight": float(next(iter(weights.values())).flatten()[0]),
                "weights": sha256_bytes(b"".join(t.contiguous().numpy().tobytes() for t in weights.values())),
                "best_epoch": fitted.progress.best_epoch,
                "epochs": len(fitted.progress.history),
                "finite": all(bool(torch.isfinite(t.float()).all()) for t in weights.values()),
            }
        )
    loop.take_step = plain
    return results


def score(folder: str, bundle: str, counts: list[int]) -> list[list[list[float]]]:
    """Logits of the first so many images by the bundle."""
    from chiron.classifier import load
    from chiron.data.dataset import StoredImages
    from chiron.data.source import ImageSource
    from chiron.engine.runtime import start_runtime
    from chiron.engine.scoring import score_images

    runtime, classifier = start_runtime(device="cpu", threads=1), load(bundle)
    paths = sorted(str(path.relative_to(folder)) for path in Path(folder, "data").rglob("*.png"))
    return [
        score_images(
            classifier,
            StoredImages(ImageSource(Path(folder)), paths[:count], classifier.input_spec),
            runtime,
            batch_size=4,
        ).tolist()
        for count in counts
    ]


def recalibrate(folder: str, bundle: str, data: str) -> dict[str, Any]:
    """A bundle on other data, of which a part fits its decision again."""
    from chiron.workflows.evaluate import evaluate

    options: dict[str, Any] = {"recalibrate_on": "cal", "device": "cpu", "threads": 1, "pictures": False}
    numbers = evaluate(bundle, data=data, out=Path(folder) / "out", **options).numbers
    return {"model_id": numbers["model_id"], "log_loss": numbers["overall"]["log_loss"]["value"]}


def meet(folder: str) -> dict[str, Any]:
    """What each process gets of the others."""
    import torch

    from chiron.core.errors import DataError, FailedElsewhereError
    from chiron.engine.runtime import start_runtime

    world = start_runtime(device="cpu", threads=1).world

    def fail() -> None:
        raise DataError("no images")

    try:
        world.by_main(fail)
    except DataError as error:
        failure = [type(error).__name__, error.exit_code]
    except FailedElsewhereError as error:
        failure = [type(error).__name__, error.exit_code]
    return {
        "rank": world.rank,
        "sum": world.sum(torch.tensor([1.0, float(world.rank)])).tolist(),
        "any": [world.any(world.rank == 1), world.any(False)],
        "of_main": world.of_main({"a": float(world.rank), "b": None if world.is_main else 1.0}),
        "share": world.share("bf16 – compiled" if world.is_main else ""),
        "by_main": world.by_main(lambda: "made"),
        "main_first": world.main_first(lambda: "found"),
        "failure": failure,
    }
