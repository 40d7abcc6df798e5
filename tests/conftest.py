"""Fixtures of all tests: small images, and the place of the real data."""

import os
from pathlib import Path

import numpy as np
import pytest


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
