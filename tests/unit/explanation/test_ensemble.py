"""Several networks as one subject: mean outputs, mean maps, and the way back."""

import torch
from explained import network_of, subject_of

from chiron.explanation.ensemble import bound, joined, members_of
from chiron.explanation.explain import blank_reasons, maps_of, mean_map
from chiron.explanation.scores.randomization import with_redrawn

NAME = "chiron_fair_cnn_nano"


def subjects():
    own = subject_of(network_of(NAME))
    return [own, with_redrawn(own, seed=1)]


def test_one_network_stays_itself():
    (first, _) = subjects()
    assert joined([first]) is first
    assert members_of(first) == [first]


def test_an_ensemble_says_the_mean_and_is_taken_apart_again():
    own = subjects()
    together = joined(own)
    torch.testing.assert_close(together.outputs(), torch.stack([it.outputs() for it in own]).mean(0))
    assert [it.network for it in members_of(together)] == [it.network for it in own]


def test_a_bound_explainer_gives_the_maps_that_users_get():
    own = subjects()
    torch.testing.assert_close(bound("feature_maps")(own[0]), maps_of(own[:1], "feature_maps"))
    both = subjects()
    torch.testing.assert_close(bound("feature_maps")(joined(both)), maps_of(both, "feature_maps"))


def test_all_networks_of_an_ensemble_are_redrawn():
    together = joined(subjects())
    redrawn = members_of(with_redrawn(together))
    for before, after in zip(members_of(together), redrawn, strict=True):
        assert (before.outputs() - after.outputs()).abs().max() > 0


def test_a_map_that_is_blank_in_one_network_is_blank_and_never_nan():
    some = torch.tensor([[[0.0, 2.0]], [[0.0, 4.0]], [[0.0, 1.0]]])
    other = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]], [[3.0, 3.0]]])
    reasons = blank_reasons([some, other])
    assert reasons[0] == ""
    assert "zeros everywhere" in reasons[1]
    assert "same value everywhere" in reasons[2]
    torch.testing.assert_close(mean_map([some, other])[:2], torch.tensor([[[0.5, 0.5]], [[0.0, 0.5]]]))
