"""The sanity run: all of a training in a few steps, and told to be no result wherever its numbers stand."""

import json

import pytest

from chiron.core.errors import SpecError
from chiron.spec.library import packaged_recipes
from chiron.spec.reading import read_recipe, recipe_yaml
from chiron.workflows.evaluate import evaluate
from chiron.workflows.overfit import overfit_settings
from chiron.workflows.sanity import sanity_settings
from chiron.workflows.train import train

CHANGES = ("train.sanity_steps=2", "train.epochs=9", "train.warmup_epochs=4", "train.mixup_alpha=0.4",
           "train.mix_from_epoch=5", "train.ema_decay=0.9", "train.ema_from_epoch=5")  # fmt: skip


@pytest.fixture(scope="module")
def sane(tmp_path_factory):
    from conftest import TINY_RECIPE, write_class_folders

    folder = tmp_path_factory.mktemp("sane")
    write_class_folders(folder / "data")
    (folder / "tiny.yaml").write_text(TINY_RECIPE)
    command = (str(folder / "tiny.yaml"), folder / "data", folder / "run")
    return train(*command, overrides=CHANGES, device="cpu", threads=1), command


def test_everything_is_there_and_says_what_it_is(sane):
    run, _ = sane
    (row,) = run.read_history()
    assert row["epoch"] == 1
    facts = run.read_facts()
    assert (facts["status"], facts["sanity_steps"], facts["is_result"]) == ("finished", 2, False)
    page = (run.path / "report.html").read_text()
    header = page[page.index("<header") : page.index("</header>")]
    assert "Sanity run: 2 steps of training. Not a result." in header
    assert page.index('data-rule="sanity_run"') < page.index('data-rule="selected_where_scored"')
    assert "**Sanity run: 2 steps of training. Not a trained network.**" in (run.bundle / "README.md").read_text()


def test_so_many_steps_are_done_and_what_begins_later_begins_at_once(sane, monkeypatch, tmp_path):
    from chiron.engine import step as loop

    mixes, plain = [], loop.draw_mix
    monkeypatch.setattr(loop, "draw_mix", lambda *a, **k: mixes.append(plain(*a, **k)) or mixes[-1])
    recipe, data, _ = sane[1]
    run = train(recipe, data, tmp_path / "run", overrides=CHANGES, device="cpu", threads=1)
    assert len(mixes) == 2
    assert None not in mixes
    state = json.loads((sorted(run.checkpoints.iterdir())[-1] / "state.json").read_text())
    assert state["progress"]["ema_updates"] == 2


def test_a_bundle_of_a_sanity_run_tells_it_on_other_data_too(sane, tmp_path):
    run, (_, data, _) = sane
    evaluated = evaluate(run.bundle, data=data, out=tmp_path / "elsewhere", overlap="accept", device="cpu")
    assert "Not a result." in evaluated.report.read_text()


def test_the_test_split_is_left_alone(sane, tmp_path):
    run, (recipe, data, _) = sane
    with pytest.raises(SpecError, match=r"must leave the test split alone.*Train without train\.sanity_steps"):
        evaluate(run.path, split="test")
    with pytest.raises(SpecError, match="must leave the test split alone"):
        train(recipe, data, tmp_path / "run", overrides=CHANGES, score_test=True, device="cpu")
    with pytest.raises(SpecError, match="must leave the test split alone"):
        train("", None, run.path, resume=True, score_test=True, device="cpu")
    assert evaluate(run.path, split="val").numbers["split"] == "val"


def test_it_resumes_with_the_same_command_and_no_other(sane):
    run, (recipe, data, out) = sane
    assert train(recipe, data, out, overrides=CHANGES, resume=True, device="cpu").path == run.path
    with pytest.raises(SpecError, match="A resumed run keeps its recipe"):
        train(recipe, data, out, overrides=CHANGES[1:], resume=True, device="cpu")


def test_two_checks_at_once_are_refused(tiny_recipe):
    with pytest.raises(SpecError, match="overfit_images and sanity_steps are two checks"):
        read_recipe(str(tiny_recipe), ["train.sanity_steps=2", "train.overfit_images=4"])


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_recipe_stays_valid_in_both_checks(name, tmp_path):
    for change, settings in (("sanity_steps=3", sanity_settings), ("overfit_images=8", overfit_settings)):
        recipe = settings(read_recipe(name, [f"train.{change}"]))
        (tmp_path / "recipe.yaml").write_text(recipe_yaml(recipe))
        assert read_recipe(str(tmp_path / "recipe.yaml")) == recipe
