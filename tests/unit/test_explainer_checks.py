"""Checks of explainers beside a bundle: they travel with it, do not change its id, and are of it alone."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from explainer_checks import explainer_check

from chiron.bundle import read_explainer_checks, write_explainer_checks
from chiron.bundle_files import EXPLAINERS
from chiron.classifier import load
from chiron.core.errors import BundleError
from chiron.spec.decision import Calibration


@pytest.fixture
def checked(trained_run, tmp_path) -> Path:
    own = shutil.copytree(trained_run.bundle, tmp_path / "bundle")
    write_explainer_checks(own, load(own).bundle_id, [explainer_check(), explainer_check(source="given")])
    return own


def test_they_travel_with_a_copy_and_leave_the_id_as_it_was(trained_run, checked, tmp_path):
    copy = load(shutil.copytree(checked, tmp_path / "copy"))
    assert copy.explainers == (explainer_check(), explainer_check(source="given"))
    assert copy.bundle_id == load(trained_run.bundle).bundle_id
    assert load(trained_run.bundle).explainers == ()


def test_those_of_another_bundle_are_not_believed(checked, caplog):
    with caplog.at_level(logging.WARNING, "chiron.bundle"):
        assert read_explainer_checks(checked, "0" * 16) == ()
    assert "is of bundle" in caplog.text


def test_another_decision_has_no_checks(checked):
    classifier = load(checked)
    former = classifier.bundle_id
    calibration = Calibration(method="temperature", parameters=({"temperature": (2.0,)},), fitted_on="cal")
    classifier.decision = classifier.decision.model_copy(update={"calibration": calibration})
    kept = (checked / EXPLAINERS).read_text(encoding="utf-8")
    assert classifier.save(checked) != former
    assert classifier.explainers == load(checked).explainers == ()
    (checked / EXPLAINERS).write_text(kept, encoding="utf-8")
    assert load(checked).explainers == ()


def test_the_same_bundle_saved_again_keeps_them(checked, tmp_path):
    classifier = load(checked)
    classifier.save(tmp_path / "first")  # without the known images: another id
    write_explainer_checks(tmp_path / "first", classifier.bundle_id, [explainer_check()])
    again = load(tmp_path / "first")
    again.save(tmp_path / "second")
    assert load(tmp_path / "second").explainers == (explainer_check(),)


@pytest.mark.parametrize("damage", ["label", "cut", "list", "unsigned", "future"])
def test_a_changed_file_is_refused(checked, damage):
    path = checked / EXPLAINERS
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    if damage == "label":
        content["checks"][0]["num_images"] = 4000
    elif damage == "unsigned":
        del content["sha256"]
    elif damage == "future":
        content["format"] = "chiron-explainer-checks 2"
    changed = {"cut": text[:-40], "list": "[]"}.get(damage, json.dumps(content))
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(BundleError, match=r"explainers.json must be as it was written.*remove the file"):
        load(checked)
