"""Words of explanations: captions, and maps open only where the explainer is recommended."""

from chiron.report.explanation_page import render_explanations
from chiron.report.explanations import Explained, caption_lines, score_text

ESTIMATE = {"value": 0.4, "low": 0.3, "high": 0.5, "method": "bootstrap", "note": None}


def stored(label="recommended", reasons=(), **more) -> Explained:
    score = {"title": "Deletion, gain", "better": "higher", "meaning": "By how much."} | ESTIMATE
    row = {"image": "<b>", "class": "nevus", "probability": 0.9, "counted": True, "wrong_class": "melanoma"}
    facts = {
        "title": "Grad-CAM",
        "notice": "Where the model reacted, not where disease is.",
        "model": "resnet18",
        "bundle_id": "abc",
        "class_specific": True,
        "verdict": {"label": label, "reasons": list(reasons), "words": label},
        "scores": {"deletion_gain": score, "energy": {**score, "title": "Energy inside"}},
        "images": [row | {"scores": {"deletion_gain": -0.123, "energy": None}}],
    }
    pictures = dict.fromkeys(("image", "map", "wrong", "untrained"), "data:image/jpeg;base64,AA")
    return Explained(facts | more, {"<b>": pictures})


def test_a_caption_has_verdict_scores_and_notice():
    explained = stored("experimental", ["too few units", "not shown to be stable"])
    first, second, last = caption_lines(explained.facts["images"][0], explained.facts)
    assert first == "Grad-CAM, experimental: too few units (and 1 more)."
    assert second == "This map: Deletion gain −0.12."  # an undefined score is left out
    assert last.startswith("Where the model reacted, not where disease is. Research use only")
    assert score_text(explained.facts["images"][0], explained.facts) == "Deletion gain −0.12"


def test_only_a_recommended_explainer_has_open_maps():
    assert "<details" not in render_explanations(stored())
    page = render_explanations(stored("experimental", ["not shown to be stable: 0.2"]))
    assert page.index("<details") < page.index("<img")
    assert "folded away. Not shown to be stable: 0.2." in page
    assert "Grad-CAM is experimental." in page


def test_names_are_escaped_and_a_wrong_class_is_named():
    page = render_explanations(stored())
    assert "<b></span>" not in page
    assert "&lt;b&gt;" in page
    assert "Wrong class: melanoma" in page
    assert "Any class: the same map" in render_explanations(stored(class_specific=False))
