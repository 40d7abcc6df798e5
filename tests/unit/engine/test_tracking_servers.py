"""MLflow and wandb by what they are called with; where they are installed, MLflow's own answer as well."""

import importlib
import json
import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

SETTINGS = {"train": {"lr": 0.1}, "model": {"name": "m"}}


def tell(logger, *epochs: int) -> None:
    for epoch in epochs:
        logger.histograms(epoch, {"Gradients/w": np.array([0.0, 1.0, np.inf])})
        logger.images(epoch, {"FeatureMaps/stem/Sample_0": np.zeros((4, 4, 3), np.uint8)})
        logger.scalars(epoch, {"Train/Loss": 1 / epoch})
    logger.close()


def load(monkeypatch, name: str, **fakes: ModuleType):
    """The leaf with other modules in place of those that it imports."""
    for key, fake in fakes.items():
        monkeypatch.setitem(sys.modules, key.replace("_", "."), fake)
    monkeypatch.delitem(sys.modules, f"chiron.engine.loggers.{name}", raising=False)
    leaf = importlib.import_module(f"chiron.engine.loggers.{name}")
    monkeypatch.delitem(sys.modules, f"chiron.engine.loggers.{name}")
    return leaf


def test_wandb_is_told_each_epoch_once_in_one_run(tmp_path, monkeypatch):
    starts, logged, finished = [], [], []
    fake = ModuleType("wandb")
    fake.Settings = lambda **options: options
    fake.Histogram = lambda values: ("histogram", values.tolist())
    fake.Image = lambda pixels: ("image", pixels.shape)

    def init(**options):
        starts.append(options)
        run = SimpleNamespace(finish=lambda: finished.append(1))
        run.log = lambda values, step: logged.append((step, values))
        return run

    fake.init = init
    leaf, folder = load(monkeypatch, "wandb", wandb=fake), tmp_path / "my_run" / "logs" / "wandb"
    tell(leaf.open_logger(folder, first_epoch=1, settings=SETTINGS), 1, 2)
    tell(leaf.open_logger(folder, first_epoch=2, settings=SETTINGS), 2, 3)  # the second was told before a kill
    assert starts[0]["id"] == starts[1]["id"]
    assert {start["resume"] for start in starts} == {"allow"}
    assert (starts[0]["name"], starts[0]["config"], starts[0]["dir"]) == ("my_run", SETTINGS, str(folder))
    assert starts[0]["settings"]["x_disable_meta"]
    assert [step for step, values in logged if "Train/Loss" in values] == [1, 2, 3]
    assert logged[0] == (1, {"Gradients/w": ("histogram", [0.0, 1.0])})
    assert [step for step, values in logged if "FeatureMaps/stem/Sample_0" in values] == [1, 2, 3]
    assert len(finished) == 2


class FakeClient:
    """What MLflow documents of its client, on a dictionary by address."""

    servers: dict = {}  # noqa: RUF012

    def __init__(self, tracking_uri):
        self.kept = self.servers.setdefault(tracking_uri, {"metrics": [], "files": [], "params": [], "status": []})

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location):
        self.kept["experiment"] = (name, artifact_location)
        return "7"

    def create_run(self, experiment, run_name):
        self.kept["run"] = (experiment, run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def log_batch(self, run_id, params):
        self.kept["params"] += params

    def update_run(self, run_id, status):
        self.kept["status"].append(status)

    def set_terminated(self, run_id):
        self.kept["status"].append("ended")

    def log_metric(self, run_id, key, value, step):
        self.kept["metrics"].append(SimpleNamespace(key=key, value=value, step=step))

    def get_metric_history(self, run_id, key):
        return [metric for metric in self.kept["metrics"] if metric.key == key]

    def log_dict(self, run_id, values, path):
        self.kept["files"].append((path, values))

    def log_image(self, run_id, pixels, path):
        self.kept["files"].append((path, pixels.shape))


@pytest.fixture
def fake_mlflow():
    fake, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    fake.MlflowClient, entities.Param, FakeClient.servers = FakeClient, lambda key, value: (key, value), {}
    return {"mlflow": fake, "mlflow_entities": entities}


def test_mlflow_is_told_each_epoch_once_in_one_run(tmp_path, monkeypatch, fake_mlflow):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    leaf, folder = load(monkeypatch, "mlflow", **fake_mlflow), tmp_path / "my_run" / "logs" / "mlflow"
    tell(leaf.open_logger(folder, first_epoch=1, settings=SETTINGS), 1, 2)
    tell(leaf.open_logger(folder, first_epoch=2, settings=SETTINGS), 2, 3)
    ((address, kept),) = FakeClient.servers.items()
    assert address == f"sqlite:///{folder}/mlflow.db"
    assert [(metric.step, metric.value) for metric in kept["metrics"]] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert kept["params"] == [("train.lr", "0.1"), ("model.name", "m")]
    assert kept["run"] == ("7", "my_run")
    assert kept["status"] == ["ended", "RUNNING", "ended"]
    path, binned = kept["files"][0]
    assert path == "histograms/epoch-00001.json"
    assert sum(binned["Gradients/w"]["counts"]) == 2  # what is not finite is in no bin
    assert ("FeatureMaps/stem/Sample_0/epoch-00003.png", (4, 4, 3)) in kept["files"]


def test_mlflow_goes_to_the_server_that_the_environment_names(tmp_path, monkeypatch, fake_mlflow):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.invalid")
    leaf = load(monkeypatch, "mlflow", **fake_mlflow)
    tell(leaf.open_logger(tmp_path / "run" / "logs" / "mlflow", first_epoch=1, settings=SETTINGS), 1)
    ((address, kept),) = FakeClient.servers.items()
    assert address == "http://tracking.invalid"
    assert kept["experiment"] == ("chiron", None)  # the server says where files go


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_itself_agrees(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    from chiron.engine.loggers import mlflow as leaf

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "run" / "logs" / "mlflow"
    for first, epochs in ((1, (1, 2)), (2, (2, 3))):
        tell(leaf.open_logger(folder, first_epoch=first, settings=SETTINGS), *epochs)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    told = client.get_metric_history((folder / "run-id.txt").read_text(), "Train/Loss")
    assert [metric.step for metric in told] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_itself_writes_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    from chiron.engine.loggers import wandb as leaf

    folder = tmp_path / "run" / "logs" / "wandb"
    tell(leaf.open_logger(folder, first_epoch=1, settings=SETTINGS), 1, 2)
    told = json.loads((folder / "told.json").read_text())
    assert told["epoch"] == 2
    assert list(folder.rglob(f"run-{told['id']}.wandb"))
