"""All scores of a map together."""

import pytest
import torch
from analytic_networks import contributions, linear_subject

from chiron.explanation.scores.controls import edge_map
from chiron.explanation.scores.randomization import randomization_correlation
from chiron.explanation.scores.table import SCORES, score_maps
from chiron.explanation.scores.verdict import verdict


def _exact(subject):
    return contributions(subject).relu()


def test_scores_have_the_keys_and_bounds_of_the_table():
    subject = linear_subject()
    masks = torch.zeros(4, 12, 12, dtype=torch.bool)
    masks[1:, 3:6, 3:6] = True
    state = torch.random.get_rng_state()
    made = score_maps(subject, _exact(subject), _exact, masks=masks)
    assert torch.equal(torch.random.get_rng_state(), state)
    made["randomization"] = randomization_correlation(subject, _exact)
    assert set(made) == set(SCORES)
    for name, values in made.items():
        low, high = SCORES[name].bounds
        known = values if name not in ("pointing", "iou", "energy") else values[1:]
        assert values.shape == (4,)
        assert ((known >= low) & (known <= high)).all(), name
    assert made["iou"].isnan().tolist() == [True, False, False, False]
    assert set(score_maps(subject, _exact(subject), _exact)) == set(SCORES) - {
        "pointing",
        "iou",
        "energy",
        "randomization",
    }


def test_every_score_says_what_it_means_in_one_sentence():
    for score in SCORES.values():
        assert score.meaning.endswith(".")
        assert score.meaning.count(". ") == 0


@pytest.mark.parametrize(("explain", "label"), [(_exact, "recommended"), (edge_map, "experimental")])
def test_the_exact_map_is_recommended_and_an_edge_detector_is_not(explain, label):
    subject = linear_subject(num_images=24, size=16, seed=3)
    scores = score_maps(subject, explain(subject), explain)
    scores["randomization"] = randomization_correlation(subject, explain)
    made = verdict(scores)
    assert made.label == label, made.reasons
    if label == "experimental":
        assert any("not shown to find" in it for it in made.reasons)
        assert any("not shown to depend on what was learned" in it for it in made.reasons)
