"""From a recipe and images to a manifest: names of classes, folds, split tables, and what a run keeps of them."""

import json

import polars as pl
import pytest

from chiron.core.errors import DataError
from chiron.data.manifest import Manifest
from chiron.data.predictions import Predictions
from chiron.spec.reading import read_recipe
from chiron.spec.recipe import LabelRecipe
from chiron.workflows.data import describe_data, inspect_manifest, prepare, split_data

THREE = {"train": 0.7, "val": 0.15, "test": 0.15}


@pytest.fixture
def numbered(class_folders):
    """The classes as they are often found: 0 and 1 instead of names."""
    (class_folders / "well").rename(class_folders / "0")
    (class_folders / "sick").rename(class_folders / "1")
    return class_folders


def recipe_with(path, **values):
    text = path.read_text().replace("labels: {positive: sick}", "")
    path.write_text(text + "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))
    return read_recipe(str(path))


def test_names_of_the_recipe_replace_numbers(numbered, tiny_recipe):
    labels = {"names": ["healthy", "sick"], "positive": "sick", "descriptions": {"sick": "a bright patch"}}
    manifest, space = prepare(recipe_with(tiny_recipe, labels=labels), numbered)
    assert (manifest.classes, space.names, space.positive) == (("healthy", "sick"), ("healthy", "sick"), "sick")
    assert space.descriptions == {"sick": "a bright patch"}
    folders = manifest.frame["path"].str.split("/").list.first()
    assert set(zip(folders, manifest.frame["label"], strict=True)) == {("0", "healthy"), ("1", "sick")}


def test_names_of_the_recipe_fix_the_order_or_are_refused(class_folders, tiny_recipe):
    labels = {"names": ["well", "sick"], "positive": "sick"}
    manifest, space = prepare(recipe_with(tiny_recipe, labels=labels), class_folders)
    assert manifest.classes == space.names == ("well", "sick")
    wrong = LabelRecipe(names=("well", "sikc"), positive="sick")
    recipe = read_recipe(str(tiny_recipe)).model_copy(update={"labels": wrong})
    with pytest.raises(DataError, match=r"names well, sikc for the 2 classes sick, well\. Did you mean 'sick'\?"):
        prepare(recipe, class_folders)


@pytest.mark.parametrize("role", ["test", "val"])
def test_folds_of_the_recipe_are_those_of_split_data(class_folders, tiny_recipe, tmp_path, role):
    data = {"folds": 3, "fold": 2, "fold_role": role, "split_seed": 5}
    recipe = recipe_with(tiny_recipe, labels={"positive": "sick"}, data=data)
    manifest, _ = prepare(recipe, class_folders)
    assert manifest.fold == 2
    written = split_data(class_folders, tmp_path / "m", fractions=THREE, seed=5, folds=3, fold_role=role)
    written = written.manifests
    assert [one.fold for one in written] == [0, 1, 2]
    assert written[2].digest == manifest.digest != written[1].digest
    assert describe_data(inspect_manifest(written[1]))["fold"] == 1
    again, _ = prepare(recipe, tmp_path / "m" / "fold-2")
    assert (again.digest, again.fold) == (manifest.digest, 2)
    with pytest.raises(DataError, match="Got fold 1, and fold 2 is asked for"):
        prepare(recipe, tmp_path / "m" / "fold-1")


def test_writing_folds_over_another_division_leaves_nothing_of_it(class_folders, tmp_path):
    out = tmp_path / "m"
    split_data(class_folders, out, fractions=THREE, folds=4)
    split_data(class_folders, out, fractions=THREE, folds=2, force=True)
    assert sorted(path.name for path in out.iterdir()) == ["fold-0", "fold-1"]
    split_data(class_folders, out, fractions=THREE, force=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "duplicates.csv", "manifest.csv", "manifest.json", "test_split.csv", "train_split.csv", "val_split.csv"
    ]  # fmt: skip
    split_data(out / "manifest.csv", out, fractions=THREE, folds=2, keep_existing=False, force=True)
    assert (out / "manifest.csv").is_file()  # what was read is not removed


def test_a_division_that_is_refused_writes_nothing(class_folders, tmp_path):
    with pytest.raises(DataError, match="Each of 21 folds must hold at least one group of every class"):
        split_data(class_folders, tmp_path / "m", fractions=THREE, folds=21)
    assert not (tmp_path / "m").exists()


def test_a_run_keeps_its_fold_its_names_and_its_split_tables(numbered, tiny_recipe, tmp_path):
    from chiron.workflows.train import train

    labels, data = {"names": ["healthy", "sick"], "positive": "sick"}, {"folds": 4, "fold": 3}
    recipe = recipe_with(tiny_recipe, labels=labels, data=data)
    run = train(str(tiny_recipe), numbered, tmp_path / "run", score_test=True, device="cpu")
    manifest = Manifest.load(run.path)
    assert (manifest.fold, manifest.classes) == (3, ("healthy", "sick"))
    for split in ("val", "test"):
        predictions = Predictions.load(run.predictions(split))
        assert set(predictions.frame["fold"]) == {"3"}
        table = pl.read_csv(run.path / f"{split}_split.csv")
        assert table["image_id"].to_list() == predictions.frame["sample_id"].to_list()
        assert table["label"].to_list() == predictions.frame["y_true"].to_list()
    again, _ = prepare(recipe, run.path)  # the run as data: the same split, whatever is asked of it
    assert again.digest == manifest.digest
    train("", None, run.path, resume=True, device="cpu")  # its own classes are told by its own recipe
