"""Every format keeps the contract of exporters, with Chiron's nano families and timm's smallest models."""

import pytest
import timm
from bundles import PAIR, classifier_of

import chiron.models  # noqa: F401 - puts the families into the registry
from chiron.core.registry import leaf_names
from chiron.exporting.contract import check_exporter
from chiron.exporting.graph import example_images
from chiron.exporting.trace import trace
from chiron.exporting.write import FORMATS
from chiron.models.registry import chiron_model_names
from chiron.spec.input_spec import InputSpec

QUICK = ("chiron_fair_cnn_nano",)
ALL = (*chiron_model_names("*_nano"), *timm.list_models("test_*"))
LARGEST = 1e-5  # of a probability of random weights: what is written must agree within 1e-4

# Networks that a format cannot hold, with the reason. There is none.
CANNOT: dict[tuple[str, str], str] = {}


def exported(name: str, formats: list[str]) -> dict[str, float]:
    """The largest difference of a probability, a format each; one trace for all of them."""
    mask = "lung" if "lung" in name else "none"
    size = 64 if name.startswith("test_") else timm.models.get_pretrained_cfg(name).input_size[-1]
    classifier = classifier_of(name, PAIR, input_spec=InputSpec(img_size=size, canonical_size=size + 8, mask=mask))
    traced = trace(classifier, example_images(classifier.input_spec).numpy())
    wanted = [to for to in formats if (name, to) not in CANNOT]
    return {to: check_exporter(to, classifier, traced).largest_difference for to in wanted}


@pytest.mark.parametrize("name", QUICK)
def test_every_format(name):
    found = exported(name, leaf_names(FORMATS))
    assert set(found) == {"onnx", "openvino", "torch"}
    assert max(found.values()) <= LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in QUICK])
def test_every_network(name):
    assert max(exported(name, ["onnx", "openvino"]).values()) <= LARGEST


def test_the_table_names_networks_and_formats():
    assert {name for name, _ in CANNOT} <= set(ALL)
    assert {to for _, to in CANNOT} <= set(leaf_names(FORMATS))
