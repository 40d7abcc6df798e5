"""A bundle on other data: labels are mapped, images that training has seen stop it, one class is enough."""

import json
import shutil

import polars as pl
import pytest
from conftest import write_class_folders

from chiron.audit.ledger import LEDGER
from chiron.bundle import read_known_images
from chiron.classifier import load
from chiron.core.errors import BundleError, DataError, LeakError, SpecError
from chiron.data.known_images import KNOWN_IMAGES
from chiron.data.predictions import Predictions
from chiron.workflows.evaluate import evaluate
from chiron.workflows.external import read_labels_map


@pytest.fixture
def bundle(trained_run, tmp_path):
    """The bundle alone, as somebody else gets it."""
    return shutil.copytree(trained_run.bundle, tmp_path / "given" / "bundle")


def foreign(folder, count=24, **names):
    """Other images; folders called as `names` say."""
    data = write_class_folders(folder, count=count, seed=7)
    for name, called in names.items():
        (data / name).rename(data / called)
    return data


def test_foreign_labels_become_the_bundles_and_null_is_left_out(bundle, tmp_path):
    data = foreign(tmp_path / "data", sick="PNEUMONIA", well="Normal")
    write_class_folders(tmp_path / "more", count=6, seed=8)
    shutil.move(tmp_path / "more" / "well", data / "Fracture")
    (tmp_path / "map.yaml").write_text("PNEUMONIA: sick\nNormal: well\nFracture: null\n")
    done = evaluate(
        bundle, data=data, out=tmp_path / "out", labels_map=tmp_path / "map.yaml", split="all", device="cpu"
    )
    assert done.numbers["num_images"] == 24
    assert done.numbers["worst_case"]["statuses"] == {"excluded": 3, "ok": 24}
    table = Predictions.load(tmp_path / "out" / "predictions.csv").frame
    out = table.filter(pl.col("status") == "excluded")
    assert set(out["status_reason"]) == {"label is no class of the bundle: Fracture"}
    notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    assert "Label Fracture: 3 images, no class of the bundle, left out." in notes
    assert "Label PNEUMONIA: 12 images, read as sick." in notes
    assert [it["attribute"] for it in done.numbers["strata"]] == ["label_of_data"]
    assert "excluded" in (tmp_path / "out" / "report.html").read_text()


def test_labels_that_do_not_map_are_listed(bundle, tmp_path):
    data = foreign(tmp_path / "data", sick="PNEUMONIA", well="Normal")
    how = {"data": data, "out": tmp_path / "out", "device": "cpu", "split": "all"}
    (tmp_path / "map.yaml").write_text("PNEUMONIA: sick\n")
    with pytest.raises(DataError, match=r"Got Normal \(12 images\)\. Add `Normal: <class>`"):
        evaluate(bundle, labels_map=tmp_path / "map.yaml", **how)
    (tmp_path / "map.yaml").write_text("PNEUMONIA: sik\nNormal: well\n")
    with pytest.raises(DataError, match=r"lead to classes of the bundle \(sick, well\)\. Got 'sik'\. Did you mean"):
        evaluate(bundle, labels_map=tmp_path / "map.yaml", **how)
    with pytest.raises(DataError, match="add --labels-map FILE"):
        evaluate(bundle, **how)
    assert not (tmp_path / LEDGER).exists()


def test_a_unit_that_the_data_do_not_name_is_told_before_they_are_looked_at(bundle, tmp_path):
    data = foreign(tmp_path / "data")
    how = {"data": data, "out": tmp_path / "out", "device": "cpu", "split": "all"}
    with pytest.raises(DataError, match="An answer for each patient needs the column patient_id"):
        evaluate(bundle, unit="patient", **how)
    classifier = load(bundle)
    classifier.decision = classifier.decision.model_copy(update={"unit": "unit"})
    classifier.save(bundle, known=read_known_images(bundle))
    with pytest.raises(DataError, match="An answer for each unit needs the column unit_id"):
        evaluate(bundle, **how)
    assert not (tmp_path / LEDGER).exists()
    assert evaluate(bundle, unit="image", **how).numbers["num_images"] == 24


def test_images_of_one_unit_with_other_labels_are_told_before_they_are_looked_at(bundle, tmp_path):
    data = foreign(tmp_path / "data")
    names = sorted(str(path.relative_to(data)) for path in data.rglob("*.png"))
    table = pl.DataFrame({"image": names, "label": [name.split("/")[0] for name in names]})
    patients = [f"p{k % 12}" for k in range(24)]  # each has an image of either class
    table.with_columns(pl.Series("patient_id", patients)).write_csv(data / "images.csv")
    how = {"data": data / "images.csv", "out": tmp_path / "out", "device": "cpu", "split": "all"}
    with pytest.raises(DataError, match=r"must have one label\. Got different ones in 12 of 12"):
        evaluate(bundle, unit="patient", **how)
    assert not (tmp_path / LEDGER).exists()
    assert not (tmp_path / "out").exists()
    classifier = load(bundle)
    classifier.decision = classifier.decision.model_copy(update={"unit": "patient", "unit_label": "any_positive"})
    classifier.save(bundle, known=read_known_images(bundle))
    assert evaluate(bundle, **how).numbers["num_images"] == 12


def test_a_map_is_a_mapping_of_names(tmp_path):
    (tmp_path / "map.yaml").write_text("0: sick\n'1': null\n")
    assert read_labels_map(tmp_path / "map.yaml") == {"0": "sick", "1": None}
    (tmp_path / "map.yaml").write_text("a: 3\n")
    with pytest.raises(SpecError, match="Got 3 for a"):
        read_labels_map(tmp_path / "map.yaml")
    with pytest.raises(SpecError, match="is about other data"):
        evaluate(tmp_path / "p.csv", labels_map=tmp_path / "map.yaml")


def test_training_images_among_the_others_stop_it_before_the_ledger(bundle, trained_run, tmp_path):
    data = foreign(tmp_path / "data")
    seen = pl.read_csv(trained_run.path / "manifest.csv").filter(pl.col("split") == "train")["path"].to_list()[:2]
    for place, path in enumerate(seen):
        shutil.copy(trained_run.path.parent / "data" / path, data / path.split("/")[0] / f"renamed {place}.png")
    how = {"data": data, "split": "all", "device": "cpu"}
    with pytest.raises(LeakError, match="Got 2 of 26 that its training has seen"):
        evaluate(bundle, out=tmp_path / "a", **how)
    assert not (tmp_path / LEDGER).exists()
    assert not (tmp_path / "a").exists()
    without = evaluate(bundle, out=tmp_path / "b", overlap="leave-out", **how)
    assert without.numbers["num_images"] == 24
    accepted = evaluate(bundle, out=tmp_path / "c", overlap="accept", **how)
    assert accepted.numbers["num_images"] == 26
    assert "2 images of this test that the training has seen" in accepted.report.read_text()
    facts = json.loads((tmp_path / "c" / "predictions.json").read_text())
    assert facts["overlap"]["same_pixels"] == 2


def test_one_class_alone_can_be_scored(bundle, tmp_path):
    data = foreign(tmp_path / "data")
    shutil.rmtree(data / "well")
    done = evaluate(bundle, data=data, out=tmp_path / "out", split="all", device="cpu")
    assert done.numbers["overall"]["sensitivity"]["value"] is not None
    assert done.numbers["overall"]["specificity"]["value"] is None
    assert done.report.is_file()


def test_the_hashes_may_be_removed_but_not_changed(bundle, tmp_path):
    assert len(read_known_images(bundle).pixels) > 20
    (bundle / KNOWN_IMAGES).write_text("{}")
    with pytest.raises(BundleError, match="Copy the bundle again, or remove the file"):
        read_known_images(bundle)
    (bundle / KNOWN_IMAGES).unlink()
    assert read_known_images(bundle) is None
    load(bundle)


def test_subgroups_that_are_asked_for_must_be_there(bundle, tmp_path):
    data = foreign(tmp_path / "data")
    how = {"data": data, "out": tmp_path / "out", "split": "all", "device": "cpu"}
    with pytest.raises(DataError, match=r"Subgroups must be columns .* Got 'ward'"):
        evaluate(bundle, subgroups=["ward"], **how)
    assert not (tmp_path / LEDGER).exists()
