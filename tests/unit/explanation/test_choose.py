"""`auto` follows the evidence for networks of the same kind, and says so where there is none."""

import json

import pytest
import timm
from analytic_networks import linear_subject
from explained import subject_of
from explainer_checks import explainer_check

from chiron.explanation import choose as module
from chiron.explanation.choose import choose, chosen, kind_of, standing
from chiron.explanation.explain import explainer_names


def result(hits: float, *reasons: str) -> dict:
    return {"estimates": {"pointing": {"value": hits}}, "reasons": list(reasons)}


@pytest.fixture
def evidence(tmp_path, monkeypatch):
    def write(*networks: dict) -> None:
        path = tmp_path / "evidence.json"
        path.write_text(json.dumps({"networks": list(networks)}), encoding="utf-8")
        module.read_evidence.cache_clear()
        monkeypatch.setattr(module, "EVIDENCE", path)

    return write


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("chiron_fair_cnn_nano", "cnn"),
        ("chiron_vit_scratch_nano", "vit"),
        ("chiron_h_coatnet_nano", "hybrid"),
        ("chiron_gft_nano", "vit"),
        ("test_vit", "vit"),
        ("test_resnet", "cnn"),
        ("test_convnext", "cnn"),
    ],
)
def test_the_kind_is_found_from_the_network(name, kind):
    sizeless = name in ("test_resnet", "test_convnext")
    assert kind_of(subject_of(timm.create_model(name, num_classes=3).eval() if sizeless else name)) == kind


def test_a_network_of_neither_is_of_another_kind():
    assert kind_of(linear_subject()) == "other"


def test_auto_takes_what_is_recommended_before_what_hits_more(evidence):
    network = {"kind": "cnn", "counts": True}
    evidence(network | {"explainers": {"grad_cam": result(0.99, "no"), "hires_cam": result(0.8)}})
    choice = chosen(subject_of("chiron_fair_cnn_nano"))
    assert (choice.method, choice.kind, choice.standing.label) == ("hires_cam", "cnn", "recommended")
    assert "80% of planted findings in cnn networks" in choice.standing.reason


def test_a_reason_in_one_network_is_enough(evidence):
    networks = [
        {"kind": "cnn", "counts": True, "explainers": {"grad_cam": result(0.9, *it)}} for it in ((), ("unstable",))
    ]
    evidence(*networks)
    assert standing("grad_cam", "cnn") == ("experimental", "unstable")


def test_a_network_that_does_not_count_is_no_evidence(evidence):
    evidence({"kind": "cnn", "counts": False, "explainers": {"hires_cam": result(1.0)}})
    assert standing("hires_cam", "cnn") == ("experimental", "it was not measured on cnn networks")


def test_auto_passes_over_what_does_not_fit_and_what_is_the_same_for_every_class(evidence):
    found = {"kept_tokens": result(1.0), "attention": result(1.0), "layer_cam": result(0.5)}
    evidence({"kind": "vit", "counts": True, "explainers": found})
    assert chosen(subject_of("test_vit")).method == "layer_cam"


def test_auto_prefers_what_passed_on_the_bundle_itself(evidence):
    network = {"kind": "cnn", "counts": True}
    evidence(network | {"explainers": {"hires_cam": result(0.99), "layer_cam": result(0.9), "grad_cam": result(0.8)}})
    subject = subject_of("chiron_fair_cnn_nano")
    passed = [explainer_check(method="grad_cam"), explainer_check(method="layer_cam")]
    choice = chosen(subject, passed)
    assert choice.method == "layer_cam"  # of two that passed, the one with the better evidence
    assert choice.reason.startswith("layer_cam is taken: it is recommended for this bundle, by 40 images")
    assert chosen(subject, [explainer_check(method="score_cam")]).method == "score_cam"  # without any evidence
    of_one_class = [explainer_check(method="grad_cam", class_name="sick")]
    assert chosen(subject, of_one_class, class_name="sick").method == "grad_cam"
    assert chosen(subject, of_one_class).method == "hires_cam"
    assert chosen(subject, [explainer_check(method="eigen_cam")]).method == "hires_cam"  # knows of no class
    failed = explainer_check(method="grad_cam", label="experimental", reasons=("unstable",))
    assert chosen(subject, [failed]).method == "hires_cam"


def test_without_evidence_the_fallback_is_told(evidence, caplog):
    evidence()
    with caplog.at_level("WARNING", logger="chiron.explain"):
        assert choose(subject_of("chiron_fair_cnn_nano")) == "hires_cam"
        assert choose(linear_subject()) == "occlusion"  # no layer with places
    assert (
        "hires_cam is taken without evidence: none was measured that fits this network, whose kind is cnn"
        in caplog.text
    )
    assert "whose kind is other. It is experimental" in caplog.text


def test_the_shipped_evidence_names_explainers_that_exist():
    module.read_evidence.cache_clear()
    networks = module.read_evidence(module.EVIDENCE)["networks"]
    assert {name for network in networks for name in network["explainers"]} <= set(explainer_names())
