"""What a training proves of the bundle that it ends with."""

import json

import pytest
import torch
from conftest import TINY_RECIPE, write_class_folders

from chiron.audit.ledger import LEDGER
from chiron.classifier import load
from chiron.core.errors import EngineError, SpecError
from chiron.data.reading import read_dataset
from chiron.workflows import make_bundle as module
from chiron.workflows import privacy
from chiron.workflows.check import check_recipe
from chiron.workflows.train import train


@pytest.mark.parametrize(("shift", "accepted"), [(1e-7, True), (1e-3, False)])
def test_a_bundle_that_scores_otherwise_when_loaded_is_refused(tmp_path, monkeypatch, shift, accepted):
    """Rounding of float32 is no disagreement; a changed weight is."""

    def load_changed(folder, **options):
        classifier = load(folder, **options)
        with torch.no_grad():
            list(classifier.networks.parameters())[-1].add_(shift)
        return classifier

    monkeypatch.setattr(module, "load", load_changed)
    (tmp_path / "tiny.yaml").write_text(TINY_RECIPE.replace("epochs: 2", "epochs: 1"))
    data = write_class_folders(tmp_path / "data", count=24)
    if accepted:
        train(str(tmp_path / "tiny.yaml"), data, tmp_path / "run", device="cpu")
        return
    with pytest.raises(EngineError, match=r"must score as the trained network does\. Got logits 1\.00e-03 apart"):
        train(str(tmp_path / "tiny.yaml"), data, tmp_path / "run", device="cpu")


def test_the_ledger_of_a_strict_project_names_no_folder(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(TINY_RECIPE.replace("epochs: 2", "epochs: 1"))
    data, run = write_class_folders(tmp_path / "Perutz", count=24), tmp_path / "run"
    monkeypatch.setattr("sys.argv", ["chiron", "train", "tiny.yaml", "--data", str(data), "--score-test"])
    strict = ("data.privacy=strict",)
    train(str(tmp_path / "tiny.yaml"), data, run, overrides=strict, score_test=True, device="cpu")
    (line,) = (tmp_path / LEDGER).read_text().splitlines()
    assert json.loads(line)["command"] == "chiron train tiny.yaml --data DATA --score-test"


def test_a_run_that_was_made_strict_goes_on_with_the_command_that_began_it(tmp_path, monkeypatch):
    """Of DICOM files `auto` means strict, so that the run keeps another word than the recipe says."""
    monkeypatch.setattr(privacy, "is_strict", lambda word, manifest: word != "project")
    (tmp_path / "tiny.yaml").write_text(TINY_RECIPE.replace("epochs: 2", "epochs: 1"))
    data, run = write_class_folders(tmp_path / "data", count=24), tmp_path / "run"
    asked = (str(tmp_path / "tiny.yaml"), data, run)
    train(*asked, device="cpu")
    assert "privacy: strict" in (run / "recipe.yaml").read_text()
    assert train(*asked, resume=True, device="cpu").read_facts()["status"] == "finished"
    with pytest.raises(SpecError, match="A resumed run keeps its recipe"):
        train(*asked, overrides=("train.lr=2e-3",), resume=True, device="cpu")


def test_accepted_leaks_are_found_again_in_a_strict_run(tmp_path):
    data, out = write_class_folders(tmp_path / "data", count=6), tmp_path / "run"
    first = sorted(data.rglob("*.png"))[0]
    first.rename(first.with_name("a~1.png"))
    manifest = read_dataset(data)
    one, other = (next(it for it in manifest.frame["sample_id"] if part in it) for part in ("a~1", "004"))
    (tmp_path / "tiny.yaml").write_text(TINY_RECIPE)
    accepted = json.dumps([f"{one}~{other}", "not~here"])
    recipe = check_recipe(str(tmp_path / "tiny.yaml"), (f"data.accept_leaks={accepted}", "data.privacy=strict"))
    hidden, kept = privacy.as_kept_with_recipe(manifest, recipe, out)
    assert all(name.startswith("s-") for name in kept.data.accept_leaks[0].split("~"))
    assert privacy.recipe_as_kept(recipe, hidden, out) == kept
    assert privacy.recipe_as_kept(recipe, manifest, out) == recipe
