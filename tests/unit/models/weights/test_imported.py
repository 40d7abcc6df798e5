"""Imported files: what they say of themselves, and how `init: imported` uses them."""

import pytest
import safetensors.torch
import torch

from chiron.core.errors import ModelError
from chiron.models.create import create_model
from chiron.models.weights.imported import ImportedFacts, read_facts, write_imported

FACTS = ImportedFacts(
    model="test_resnet",
    source="best.pth",
    sha256="ab" * 32,
    kind="names of the model",
    taken="state_dict",
    num_matched=3,
    num_missing=0,
    num_unexpected=0,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.2),
)


def make(name, path=None, **changes):
    first = {"init": "scratch"} if path is None else {"init": "imported", "weights": str(path)}
    return create_model(name, **{"num_classes": 3, "img_size": 64, "seed": 0, **first, **changes})


@pytest.fixture
def source():
    return make("test_resnet", seed=9)


@pytest.fixture
def file(tmp_path, source):
    path = tmp_path / "own.safetensors"
    write_imported(path, source.state_dict(), FACTS)
    return path


def test_facts_come_back(file):
    assert read_facts(file) == FACTS
    assert len(safetensors.torch.load_file(file)) == len(make("test_resnet").state_dict())


def test_all_tensors_are_loaded(file, source):
    model = make("test_resnet", file)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name
    origin = model.weights_origin
    assert (origin.source, origin.sha256, origin.revision, origin.license) == ("best.pth", "ab" * 32, None, None)
    assert (origin.num_loaded, origin.num_drawn) == (sum(p.numel() for p in model.parameters()), 0)


def test_a_classifier_of_other_classes_is_drawn(file, source):
    model = make("test_resnet", file, num_classes=5)
    assert torch.equal(model.conv1[0].weight, source.conv1[0].weight)
    assert torch.equal(model.fc.weight, make("test_resnet", num_classes=5).fc.weight)
    assert model.weights_origin.num_drawn == sum(p.numel() for p in model.fc.parameters())
    assert not torch.equal(model.fc.weight, make("test_resnet", file, num_classes=5, seed=1).fc.weight)


def test_gray_images_get_the_sum_of_the_kernels(file, source):
    model = make("test_resnet", file, in_chans=1)
    torch.testing.assert_close(model.conv1[0].weight, source.conv1[0].weight.sum(1, keepdim=True))


def test_half_precision_is_widened(tmp_path, source):
    write_imported(tmp_path / "half.safetensors", {k: t.half() for k, t in source.state_dict().items()}, FACTS)
    model = make("test_resnet", tmp_path / "half.safetensors")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.fc.weight, source.fc.weight.half().float())


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(ModelError) as error:
        make("test_resnet", tmp_path / "no.safetensors")
    assert "`chiron weights import FILE --as NAME`, or ask for random weights by name (init: scratch)" in str(
        error.value
    )


def test_mistakes_are_told(file, tmp_path, source):
    with pytest.raises(ModelError, match=r"must hold weights of test_vit. Got own.safetensors for test_resnet"):
        make("test_vit", file)
    with pytest.raises(ModelError, match="init 'imported' and a file of weights belong together"):
        make("test_resnet", init="imported")
    with pytest.raises(ModelError, match="init 'imported' and a file of weights belong together"):
        make("test_resnet", file, init="scratch")
    safetensors.torch.save_file(source.state_dict(), tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match=r"must be one that `chiron weights import` wrote. Got plain.safetensors"):
        make("test_resnet", tmp_path / "plain.safetensors")
    (tmp_path / "half.safetensors").write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"Got half.safetensors: .* Import it with"):
        make("test_resnet", tmp_path / "half.safetensors")


def test_another_shape_is_refused(tmp_path, source):
    tensors = dict(source.state_dict())
    key = next(name for name, tensor in source.state_dict().items() if name.startswith("layer1") and tensor.ndim == 4)
    tensors[key] = torch.ones(2, 2, 1, 1)
    write_imported(tmp_path / "x.safetensors", tensors, FACTS)
    with pytest.raises(ModelError, match=rf"shapes of x.safetensors .* Got {key} \(2, 2, 1, 1\) for \("):
        make("test_resnet", tmp_path / "x.safetensors")


@pytest.mark.parametrize("head", ["simple", "acrnn"])
def test_a_network_keeps_its_weights_below_another_head(file, source, head):
    model = make("test_resnet", file, head=head)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name
    fresh = make("test_resnet", head=head)
    assert all(torch.equal(a, b) for a, b in zip(model.head.parameters(), fresh.head.parameters(), strict=True))
    origin = model.weights_origin
    assert origin.num_loaded == sum(p.numel() for p in model.backbone.parameters())
    assert origin.num_drawn == sum(p.numel() for p in model.head.parameters())


def test_a_family_with_a_head_of_its_own_takes_another(tmp_path):
    source = make("chiron_effnetv2_nano", seed=9)
    facts = FACTS.model_copy(update={"model": "chiron_effnetv2_nano"})
    write_imported(tmp_path / "own.safetensors", source.state_dict(), facts)
    model = make("chiron_effnetv2_nano", tmp_path / "own.safetensors", head="linear")
    assert torch.equal(next(model.backbone.parameters()), next(source.backbone.parameters()))
    assert model.weights_origin.num_loaded == sum(p.numel() for p in model.backbone.parameters())


def test_a_network_imported_under_a_head_needs_that_head(tmp_path):
    source = make("test_resnet", head="simple", seed=9)
    facts = FACTS.model_copy(update={"head": "simple"})
    write_imported(tmp_path / "headed.safetensors", source.state_dict(), facts)
    model = make("test_resnet", tmp_path / "headed.safetensors", head="simple")
    assert model.weights_origin.num_drawn == 0
    assert torch.equal(model.head.classifier.weight, source.head.classifier.weight)
    for head in (None, "acrnn"):
        with pytest.raises(ModelError, match=rf"under the head simple. Got model.head {head}. Take that head"):
            make("test_resnet", tmp_path / "headed.safetensors", head=head)


def test_whole_numbers_and_overflow_are_no_weights(tmp_path, source):
    tensors = dict(source.state_dict())
    tensors["fc.weight"] = (tensors["fc.weight"] * 100).to(torch.int8)
    write_imported(tmp_path / "int8.safetensors", tensors, FACTS)
    with pytest.raises(ModelError, match=r"Got fc.weight \(3, \d+\) int8 for \(3, \d+\)"):
        make("test_resnet", tmp_path / "int8.safetensors")
    tensors["fc.weight"] = torch.full_like(source.fc.weight, 1e300, dtype=torch.float64)
    write_imported(tmp_path / "large.safetensors", tensors, FACTS)
    with pytest.raises(ModelError, match=r"finite in the network's precision. Got others in fc.weight"):
        make("test_resnet", tmp_path / "large.safetensors")
