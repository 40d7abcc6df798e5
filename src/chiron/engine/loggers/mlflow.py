"""MLflow: the server that MLFLOW_TRACKING_URI names, or a database in the run folder.

`mlflow ui --backend-store-uri sqlite:///RUN/logs/mlflow/mlflow.db` shows the latter.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Param

from chiron.core.files import write_text

PACKAGE = "mlflow"
INSTALL = "mlflow-skinny sqlalchemy alembic"
_LONGEST = 500  # characters of a value that every version of MLflow takes
_BINS = 64


class MLflowLogger:
    """One MLflow run for the whole training, also when it is resumed."""

    def __init__(self, folder: Path, *, settings: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = MlflowClient(tracking_uri=server or f"sqlite:///{folder.resolve() / 'mlflow.db'}")
        kept = folder / "run-id.txt"
        if kept.is_file():
            self._run_id = kept.read_text().strip()
            self._client.update_run(self._run_id, status="RUNNING")
        else:
            files = None if server else (folder.resolve() / "files").as_uri()
            run = self._client.create_run(self._experiment(files), run_name=folder.parent.parent.name)
            self._run_id = run.info.run_id
            params = [Param(key, str(value)[:_LONGEST]) for key, value in _flat(settings)]
            self._client.log_batch(self._run_id, params=params)
            write_text(kept, self._run_id)
        told = self._client.get_metric_history(self._run_id, "Train/Loss")
        self._told = max((metric.step for metric in told), default=0)

    def _experiment(self, files: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "chiron")
        known = self._client.get_experiment_by_name(name)
        return known.experiment_id if known else self._client.create_experiment(name, artifact_location=files)

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """Metrics, whose step is the epoch."""
        if epoch > self._told:
            for name, value in values.items():
                self._client.log_metric(self._run_id, name, value, step=epoch)

    def histograms(self, epoch: int, values: Mapping[str, np.ndarray]) -> None:
        """MLflow has none: counts and edges of the bins, in a file an epoch."""
        binned = {name: np.histogram(value[np.isfinite(value)], _BINS) for name, value in values.items()}
        told = {name: {"counts": n.tolist(), "edges": edges.tolist()} for name, (n, edges) in binned.items()}
        self._client.log_dict(self._run_id, told, f"histograms/epoch-{epoch:05d}.json")

    def images(self, epoch: int, values: Mapping[str, np.ndarray]) -> None:
        """Among the files of the run, one an epoch."""
        for name, value in values.items():
            self._client.log_image(self._run_id, value, f"{name}/epoch-{epoch:05d}.png")

    def close(self) -> None:
        """The run does not go on."""
        self._client.set_terminated(self._run_id)


def open_logger(folder: Path, *, first_epoch: int, settings: Mapping[str, Any]) -> MLflowLogger:
    """The MLflow run of this training; what it knows already it is not told again."""
    return MLflowLogger(folder, settings=settings)


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """`{"train": {"lr": 1}}` as `[("train.lr", 1)]`."""
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        pairs += _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else [(f"{before}{key}", value)]
    return pairs
