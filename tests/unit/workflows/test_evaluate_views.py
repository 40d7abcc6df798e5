"""Evaluation with averaged views: beside what stands for the run, told in its numbers, and equal to prediction."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from chiron.core.errors import SpecError
from chiron.data.predictions import Predictions
from chiron.workflows.evaluate import evaluate
from chiron.workflows.predict import predict


@pytest.mark.usefixtures("undrawn")
def test_a_run_keeps_its_numbers_and_the_others_say_what_they_are(trained_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run.path, run)
    before = (run / "evaluation_metrics.json").read_bytes()
    done = evaluate(run, split="val", tta="hflip", device="cpu")
    assert done.folder == run / "tta_hflip"
    assert done.numbers["tta"] == "hflip"
    assert "means over each image and its mirror image" in done.report.read_text()
    assert (run / "evaluation_metrics.json").read_bytes() == before
    table = Predictions.load(run / "tta_hflip" / "val.csv")
    stored = Predictions.load(run / "predictions" / "test.csv")
    assert table.facts["leaks_accepted"] == stored.facts["leaks_accepted"]  # told in every report
    rows = predict(run / "bundle", trained_run.path.parent / "data", tta="hflip", device="cpu")
    said = {Path(row.name).stem: row.prediction.probabilities for row in rows}
    expected = [[said[name][label] for label in table.classes] for name in table.frame["sample_id"]]
    np.testing.assert_allclose(table.y_prob, expected, atol=1e-5)


def test_views_need_images_and_no_maps(trained_run, tmp_path):
    with pytest.raises(SpecError, match=r"evaluated as it is\. Got --tta"):
        evaluate(trained_run.path / "predictions" / "test.csv", tta="hflip", out=tmp_path / "o")
    with pytest.raises(SpecError, match="Got --explain and --tta"):
        evaluate(trained_run.path, tta="hflip", explain="auto")
