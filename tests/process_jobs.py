"""What the processes of a test's job do together, by function name, and how a job is started."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]


def run_job(name: str, folder: Path, *, size: int = 2, **arguments: Any) -> list[Any]:
    """What the function `name` of this file returns in each of `size` processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    job = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": paths}
    command = [sys.executable, __file__, name, str(folder), json.dumps(arguments)]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **job, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    told = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * size, "\n".join(told)
    return [json.loads((folder / f"{name}-{rank}-of-{size}.json").read_text()) for rank in range(size)]


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


if __name__ == "__main__":
    name, folder, arguments = sys.argv[1:]
    result = globals()[name](folder, **json.loads(arguments))
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    Path(folder, f"{name}-{rank}-of-{size}.json").write_text(json.dumps(result))
