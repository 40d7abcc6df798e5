"""Fixtures of all tests: small images, and the place of the real data. Array shapes are checked while tests run."""

import logging
import os
from pathlib import Path

import hypothesis
import jaxtyping
import numpy as np
import pytest
from jaxtyping import install_import_hook
from PIL import Image

# Every array that enters or leaves a function of these packages is compared with its annotation.
install_import_hook(
    [
        f"chiron.{name}"
        for name in (
            *("decide", "metrics", "preprocess", "layers", "models", "data", "engine", "explanation", "audit"),
            *("classifier", "scorer", "export", "exported"),
        )
    ],
    "shape_checks.check",
)


hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine fails no test
# To make a counterexample smaller can take minutes: `.ci/run` tells it as it was found.
hypothesis.settings.register_profile("ci", deadline=None, phases=set(hypothesis.Phase) - {hypothesis.Phase.shrink})
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "untimed")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What Chiron measures while tests run is not kept for the user."""
    os.environ["CHIRON_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def fresh_logging():
    """What a command line of another test has set for its own messages holds for that test alone."""
    logger = logging.getLogger("chiron")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images, or a skip that says why."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("CHIRON_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real images are not here: CHIRON_DATA or {default.name} beside the checkout must be a folder")
    return folder


TINY_RECIPE = """\
about: for tests
model: {name: chiron_fair_cnn_nano, init: scratch}
input: {img_size: 32, in_chans: 1}
labels: {positive: sick}
augment: {degrees: 5, brightness: 0.1}
train: {epochs: 2, batch_size: 8, lr: 1e-3, clip_grad: 1.0, num_workers: 0}
evaluate: {num_resamples: 200}
"""


def write_class_folders(folder: Path, *, count: int = 40, size: int = 40, seed: int = 0) -> Path:
    """Two classes of noise, the sick one with a bright patch; names with spaces and Unicode."""
    random = np.random.default_rng(seed)
    for k in range(count):
        label = ("sick", "well")[k % 2]
        pixels = random.integers(0, 120, (size, size), dtype=np.uint8)
        if label == "sick":
            pixels[8:20, 8:20] += 100
        path = folder / label / f"Bild {k:03d} ä.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def class_folders(tmp_path) -> Path:
    return write_class_folders(tmp_path / "data")


@pytest.fixture
def tiny_recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """A finished run on class folders, with its test split scored; not to be changed by a test."""
    from chiron.workflows.train import train

    folder = tmp_path_factory.mktemp("trained")
    data = write_class_folders(folder / "data")
    (folder / "tiny.yaml").write_text(TINY_RECIPE)
    return train(str(folder / "tiny.yaml"), data, folder / "run", score_test=True, device="cpu")


@pytest.fixture
def undrawn(monkeypatch):
    """Reports have no figures, which take longer than the small trainings of tests and have tests of their own."""
    monkeypatch.setattr("chiron.workflows.report.draw_figures", lambda *numbers, **options: [])


@pytest.fixture
def unchecked():
    """Lets a test hand over what the annotations forbid, to see the refusal that a user would see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
