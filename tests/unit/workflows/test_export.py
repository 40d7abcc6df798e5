"""chiron export: the command, and what a lower precision must show."""

import json

import pytest
from conftest import write_class_folders

from chiron.cli.main import run as run_command
from chiron.core.errors import ExportError, SpecError
from chiron.exported.base import ExportedScorer
from chiron.loading import load
from chiron.metrics.comparison import keeps_quality
from chiron.workflows.export import export


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("many"), count=200, seed=5)


def test_the_command_tells_how_it_was_proven(trained_run, tmp_path, capsys):
    command = ["export", str(trained_run.path), "--to", "onnx", "--out", str(tmp_path / "m.onnx")]
    assert run_command([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["precision"] == "fp32"
    assert told["agreement"]["largest_difference"] <= 1e-4
    assert told["bundle_id"] == load(trained_run.path).bundle_id
    assert run_command(command) == 2
    assert "must not exist yet" in capsys.readouterr().err
    assert run_command(["predict", str(tmp_path / "m.onnx"), str(trained_run.path.parent / "data")]) == 0
    assert "not a medical device" in capsys.readouterr().out


def test_bf16_is_judged_on_real_images(trained_run, many, tmp_path, monkeypatch):
    monkeypatch.setattr(keeps_quality, "FEWEST_CASES", 200)
    monkeypatch.setitem(keeps_quality.LARGEST_LOSS, "auroc", 0.9)  # a rule that this little network keeps anyhow
    monkeypatch.setitem(keeps_quality.LARGEST_LOSS, "accuracy", 0.9)
    done = export(trained_run.path, to="openvino", precision="bf16", data=many, out=tmp_path / "form")
    said = done.spec.agreement
    assert said.quality.num_images == 200
    assert said.quality.words.startswith("quality kept; ")
    form = load(done.path)
    assert isinstance(form, ExportedScorer)
    assert form.spec == done.spec
    assert form.compiled[0].get_property("INFERENCE_PRECISION_HINT").to_string() == "bf16"


@pytest.mark.slow
def test_int8_finds_its_ranges_on_other_images_than_it_is_judged_on(trained_run, many, tmp_path, monkeypatch):
    monkeypatch.setattr(keeps_quality, "FEWEST_CASES", 100)
    monkeypatch.setitem(keeps_quality.LARGEST_LOSS, "auroc", 0.9)
    monkeypatch.setitem(keeps_quality.LARGEST_LOSS, "accuracy", 0.9)
    done = export(trained_run.path, to="openvino", precision="int8", data=many, out=tmp_path / "form")
    assert done.spec.agreement.quality.num_images == 100
    assert b"FakeQuantize" in (done.path / "model.xml").read_bytes()


def test_what_is_not_shown_is_refused_with_the_numbers(trained_run, tmp_path):
    with pytest.raises(ExportError, match=r"of which 1,000 are needed.*decisions flipped \(val\)") as refused:
        export(trained_run.path, to="openvino", precision="bf16", out=tmp_path / "form")
    assert refused.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_fit_are_told(trained_run, tmp_path):
    with pytest.raises(SpecError, match=r"Got the bundle .* alone"):
        export(trained_run.bundle, to="openvino", precision="bf16", out=tmp_path / "form")
    with pytest.raises(SpecError, match="Got --data for fp32"):
        export(trained_run.path, to="onnx", data=tmp_path, out=tmp_path / "m.onnx")
