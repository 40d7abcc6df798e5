"""The bench of explainers from phantoms to the page: a network that was led astray is told."""

import polars as pl
import pytest

from chiron.cli.main import run as chiron
from chiron.core.errors import ExplainError
from chiron.workflows.bench_explainers import _require_unseen


def test_patients_that_a_network_has_seen_are_refused(tmp_path):
    for name in ("run.json", "recipe.yaml"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    pl.DataFrame({"sample_id": ["s1-p00000-1", "s7-p00003-2"]}).write_csv(tmp_path / "manifest.csv")
    _require_unseen(tmp_path, 77)
    with pytest.raises(ExplainError, match=r"must be new to the network\. Got seed 7, "):
        _require_unseen(tmp_path, 7)


def test_an_output_that_stands_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "evidence.json").write_text("{}", encoding="utf-8")
    assert chiron(["bench", "explainers", "--out", str(tmp_path), "-q"]) == 2
    assert "--force" in capsys.readouterr().err
