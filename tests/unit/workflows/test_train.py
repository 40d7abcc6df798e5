"""What a training proves of the bundle that it ends with."""

import json

import pytest
import torch
from conftest import TINY_RECIPE, write_class_folders

from chiron.audit.ledger import LEDGER
from chiron.classifier import load
from chiron.core.errors import EngineError
from chiron.workflows import make_bundle as module
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


def test_a_strict_run_goes_on_with_the_command_that_began_it(tmp_path):
    """Its recipe holds hashes where the first one named leaks, and says strict where that said auto and DICOM did."""
    (tmp_path / "tiny.yaml").write_text(TINY_RECIPE.replace("epochs: 2", "epochs: 1"))
    data, run = write_class_folders(tmp_path / "data", count=24), tmp_path / "run"
    for split, name in (("train", "a~1.png"), ("val", "b.png")):  # one picture in two splits
        for place, path in enumerate(sorted(data.rglob("Bild*.png"))):
            if place % 3 == (split == "val") or (place % 3 == 2 and split == "train"):
                target = data / split / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    for split, name in (("train", "a~1.png"), ("val", "b.png")):
        Image.fromarray(np.full((40, 40), 90, np.uint8)).save(data / split / "well" / name)
    with pytest.raises(LeakError) as leak:
        train(str(tmp_path / "tiny.yaml"), data, run, device="cpu")
    (named,) = set(re.findall(r"\S*a~1\S*~\S*b\S*?(?=[\s,:;)]|\.?$)", str(leak.value), re.MULTILINE))
    print(named)
