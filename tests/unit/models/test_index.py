"""The index of names equals the registries, and reading it loads no framework."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import timm

from chiron.models.create import list_models, takes_mask
from chiron.models.index import INDEX_FILE, build_index, index_text
from chiron.models.registry import chiron_model_names
from chiron.spec import model_names
from chiron.spec.model_names import indexed_timm_version, is_known_model, known_model_names, needs_mask


def test_index_equals_the_registries():
    if timm.__version__ != indexed_timm_version():
        pytest.skip(f"the index was made with timm {indexed_timm_version()}, here is {timm.__version__}")
    assert INDEX_FILE.read_text(encoding="utf-8") == index_text(build_index()), "run python -m chiron.models.index"
    assert {name for name in known_model_names() if "." not in name} == set(list_models())


def test_chirons_own_names_are_current_whatever_timm_is_installed():
    assert list(build_index()["chiron"]) == [name for name in known_model_names() if name.startswith("chiron_")]


def test_reading_names_loads_no_framework():
    code = (
        "import sys; from chiron.spec.model_names import known_model_names; "
        "assert 'resnet18.a1_in1k' in known_model_names(); "
        "print(sorted({'torch', 'timm', 'numpy', 'chiron.models'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_of_outside_packages(monkeypatch):
    assert is_known_model("chiron_h_coatnet")
    assert is_known_model("resnet18.tv_in1k")
    assert not is_known_model("chiron_fancy_small")
    entry = EntryPoint("fancy", "fancy_package.models", "chiron.models.families")
    monkeypatch.setattr(model_names.importlib.metadata, "entry_points", lambda group: [entry])
    assert is_known_model("chiron_fancy_small")
    assert not is_known_model("chiron_other")


def test_index_knows_which_models_take_a_mask():
    for name in chiron_model_names("*_nano"):
        assert needs_mask(name) == takes_mask(timm.create_model(name)), name
    assert needs_mask("chiron_hybrid_lung_vit_nano") is True
    assert needs_mask("resnet18.tv_in1k") is False
    assert needs_mask("chiron_other") is None
