"""What may be recommended, and what the reasons against it say."""

import pytest
import torch

from chiron.core.errors import ExplainError
from chiron.explanation.scores.verdict import GAIN_BOUND, RANDOMIZATION_BOUND, STABILITY_BOUND, verdict


def _scores(num_images: int = 40, **means: float) -> dict[str, torch.Tensor]:
    """Scores about a mean, good ones where nothing else is said."""
    random = torch.Generator().manual_seed(0)
    good = {"deletion_gain": 0.1, "insertion_gain": 0.1, "stability": 0.9, "randomization": 0.2, "road": 0.1}
    noise = [torch.rand(num_images, generator=random) for _ in good | means]
    return {name: mean + 0.1 * (it - it.mean()) for (name, mean), it in zip((good | means).items(), noise, strict=True)}


def test_one_that_passes_everything_is_recommended():
    made = verdict(_scores())
    assert made.recommended
    assert made.reasons == ()
    assert made.label == "recommended"
    assert set(made.estimates) == {"deletion_gain", "insertion_gain", "stability", "randomization", "road"}
    assert made.estimates["road"].low < 0.1 < made.estimates["road"].high


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ({"deletion_gain": 0.0, "insertion_gain": -0.1}, "not shown to find what the probability depends on"),
        ({"deletion_gain": GAIN_BOUND + 0.003, "insertion_gain": GAIN_BOUND + 0.003}, f"must lie above {GAIN_BOUND}"),
        ({"stability": STABILITY_BOUND + 0.003}, f"must lie above {STABILITY_BOUND}"),
        ({"randomization": RANDOMIZATION_BOUND - 0.003}, f"must lie below {RANDOMIZATION_BOUND}"),
    ],
)
def test_each_check_that_fails_is_a_reason(means, words):
    """Means on the right side of their bounds are not enough: the limits must lie there."""
    made = verdict(_scores(**means))
    assert not made.recommended
    assert made.label == "experimental"
    assert len(made.reasons) == 1
    assert words in made.reasons[0]


def test_one_gain_is_enough():
    assert verdict(_scores(deletion_gain=-0.2)).recommended
    assert verdict(_scores(insertion_gain=-0.2)).recommended


def test_units_count_and_not_images():
    scores = {name: values.repeat_interleave(8) for name, values in _scores(num_images=12).items()}
    assert verdict(scores).recommended
    made = verdict(scores, units=[k // 8 for k in range(96)])
    assert made.reasons == ("too few units to tell: 12, where intervals need 20",)


def test_images_without_a_value_do_not_count():
    scores = _scores()
    scores["stability"][5:] = torch.nan
    assert "too few units to tell: 5" in verdict(scores).reasons[0]
    scores["stability"][:] = torch.nan
    assert any("undefined (no image to count)" in it for it in verdict(scores).reasons)


def test_no_spread_is_no_evidence():
    scores = _scores() | {"randomization": torch.ones(40)}
    assert "1.000 (no interval: every resample gives the same value" in verdict(scores).reasons[0]


def test_a_check_that_was_left_out_is_an_error():
    scores = _scores()
    del scores["randomization"]
    with pytest.raises(ExplainError, match=r"A verdict needs .*Got none of randomization.*randomization_correlation"):
        verdict(scores)


def _hits(hits: float, controls: float, num_images: int = 40, num_known: int | None = None):
    """Scores with a share of hits, and those of controls; findings are known in the first images only."""
    known = torch.arange(num_images) < (num_images if num_known is None else num_known)

    def share(value: float) -> torch.Tensor:
        return torch.where(known, (torch.arange(num_images) < value * num_images).float(), torch.nan)

    of_controls = {name: {"pointing": share(controls)} for name in ("edges", "center")}
    return _scores(num_images) | {"pointing": share(hits)}, of_controls


def test_maps_that_follow_the_network_and_miss_the_findings_are_not_recommended():
    scores, of_controls = _hits(hits=0.067, controls=0.3)
    assert verdict(scores).recommended
    made = verdict(scores, of_controls=of_controls)
    assert not made.recommended
    assert len(made.reasons) == 2
    assert (
        "not shown to find findings better than the control 'edges': the difference of hit rates is -0.2"
        in (made.reasons[0])
    )
    assert made.above_controls["center"]["pointing"].high < 0


def test_hits_must_be_above_controls_by_the_limit():
    scores, of_controls = _hits(hits=0.9, controls=0.2)
    made = verdict(scores, of_controls=of_controls)
    assert made.recommended
    assert made.above_controls["edges"]["pointing"].low > 0.4
    scores, of_controls = _hits(hits=0.30, controls=0.25)
    assert not verdict(scores, of_controls=of_controls).recommended


def test_hits_on_few_units_weigh_nothing():
    scores, of_controls = _hits(hits=0, controls=1, num_known=19)
    made = verdict(scores, of_controls=of_controls)
    assert made.recommended
    assert made.above_controls == {}
    assert made.estimates["pointing"].num_images == 19
    scores, of_controls = _hits(hits=0, controls=1, num_known=20)
    assert not verdict(scores, of_controls=of_controls).recommended
    two_each = [k // 2 for k in range(40)]
    assert verdict(scores, two_each, of_controls=of_controls).above_controls == {}  # 10 units with findings
