"""A form is written as a whole and proven, or not at all."""

import numpy as np
import pytest
import torch
from bundles import ONE_LOGIT, PAIR, classifier_of

from chiron.core.errors import ChironError, ExportError, SpecError
from chiron.exporting import agreement, graph
from chiron.exporting.golden import golden_images
from chiron.exporting.write import format_names, write_export
from chiron.loading import load
from chiron.spec.export_spec import ExportSpec
from chiron.spec.input_spec import InputSpec


@pytest.fixture(scope="module")
def classifier():
    return classifier_of(labels=PAIR)


def test_sixteen_bits_and_one_logit(tmp_path, random):
    spec = InputSpec(img_size=32, canonical_size=40, in_chans=1, bit_depth=16)
    deep = classifier_of(labels=ONE_LOGIT, input_spec=spec)
    image = random.integers(0, 65536, (50, 45), dtype=np.uint16)
    for to in ("onnx", "openvino"):
        write_export(deep, tmp_path / f"model.{to}" if to == "onnx" else tmp_path / to, to=to)
    for path in tmp_path.iterdir():
        said = load(path)
        assert said.store(image).dtype == np.uint16
        assert said.predict(image).probabilities == pytest.approx(deep.predict(image).probabilities, abs=1e-6)


def test_the_draft_of_another_graph_is_refused_and_the_former_file_stays(classifier, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"former")

    class Warmer(graph.Probabilities):
        def forward(self, logits):
            return super().forward(logits * 1.1)

    monkeypatch.setattr(graph, "Probabilities", Warmer)
    with pytest.raises(ExportError, match=r"at most 0.0001 in a probability .* Nothing was written") as refused:
        write_export(classifier, path, to="onnx")
    assert refused.value.exit_code == 1
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_another_network_behind_right_probabilities_is_refused(classifier):
    def same_for_all(stored):
        logits = np.zeros((1, len(stored), 2), np.float32)
        return {"logits": logits, "probabilities": classifier.probabilities(logits)}

    with pytest.raises(ExportError, match="of the largest logit"):
        agreement.agreement(classifier, same_for_all, required=True)


def test_outputs_that_are_not_finite_are_refused_in_any_precision(classifier):
    def broken(stored):
        return {"logits": np.full((1, len(stored), 2), np.nan), "probabilities": np.full((len(stored), 2), np.nan)}

    with pytest.raises(ExportError, match="must give finite logits"):
        agreement.agreement(classifier, broken, required=False)


def test_golden_images_are_the_same_each_time(classifier):
    first = golden_images(classifier)
    np.testing.assert_array_equal(first, golden_images(classifier))
    assert len({image.tobytes() for image in first}) == len(first)


def test_a_network_that_depends_on_values_is_told(classifier, tmp_path, monkeypatch):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3)).expand(-1, 2) if x.sum() > 0 else x.amax(dim=(2, 3)).expand(-1, 2)

    monkeypatch.setattr(classifier, "networks", torch.nn.ModuleList([Odd()]))
    with pytest.raises(ExportError, match="must be traceable to be exported"):
        write_export(classifier, tmp_path / "model.onnx", to="onnx")


def test_formats_and_precisions_are_known(classifier, tmp_path):
    assert format_names() == ["onnx", "openvino", "torch"]
    with pytest.raises(ChironError, match=r"The format must be one of onnx, openvino, torch. Got 'onx'"):
        write_export(classifier, tmp_path / "x", to="onx")
    with pytest.raises(SpecError, match=r"The precision of onnx must be one of fp32. Got int8"):
        write_export(classifier, tmp_path / "x", to="onnx", precision="int8")
    with pytest.raises(SpecError, match="must be judged on real images"):
        write_export(classifier, tmp_path / "x", to="openvino", precision="bf16")


def test_what_a_form_says_survives_its_text(classifier):
    spec = ExportSpec(bundle_id="x", bundle=classifier.bundle_spec)
    assert ExportSpec.model_validate_json(spec.model_dump_json()) == spec
