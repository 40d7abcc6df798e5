"""The bench of explainers from phantoms to the page: a network that was led astray is told."""

import json

import polars as pl
import pytest

from chiron.cli.main import run as chiron
from chiron.core.errors import ExplainError
from chiron.data.phantoms.planted import Planted
from chiron.report.explainers_page import page
from chiron.workflows.bench_explainers import _require_unseen, bench_explainers
from chiron.workflows.phantoms import make_phantoms
from chiron.workflows.train import train


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


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "unchecked")  # shapes of all that runs here are checked elsewhere
def test_a_planted_shortcut_is_what_maps_point_at_and_the_page_says_so(tmp_path, capsys):
    planted, size = Planted(shortcut="corner_marker"), 64
    options = {"num_images": 300, "img_size": size, "difficulty": 0.9, "seed": 1}
    data = make_phantoms("phantom-cxr", tmp_path / "data", planted=planted, **options)
    changes = (f"input.img_size={size}", "train.epochs=15", "train.lr=3e-3", "train.num_workers=0")
    run = train("phantom_cxr/fair_cnn_nano", data, tmp_path / "run", overrides=changes, device="cpu")
    asked = ["--method", "hires_cam", "--images", "300", "--scored", "20", "--difficulty", "0.9", "--device", "cpu"]
    asked += ["--bundles", str(run.path), "--shortcut", "corner_marker", "--out", str(tmp_path / "out"), "-q"]
    assert chiron(["bench", "explainers", *asked]) == 0
    assert "hires_cam: Shortcut: " in capsys.readouterr().out
    evidence = json.loads((tmp_path / "out" / "evidence.json").read_text(encoding="utf-8"))
    (network,) = evidence["networks"]
    assert (network["kind"], network["counts"]) == ("cnn", True)  # the mark tells the class
    found = network["explainers"]["hires_cam"]
    assert found["where"]["points_at"] == "mark"
    assert found["where"]["mark"]["value"] > 0.8
    assert not found["recommended"]  # what it finds is not the finding
    told = (tmp_path / "out" / "explainers.md").read_text(encoding="utf-8")
    assert told == page(evidence)
    assert "The network goes by the mark, which has nothing to do with the finding." in told
    with pytest.raises(ExplainError, match="At least 20 patients"):
        bench_explainers([run.path], num_images=20, difficulty=0.9)
