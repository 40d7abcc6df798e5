"""What sends an image to a person, and the sentences that say so."""

import numpy as np
import pytest

from chiron.prediction import Answer, Scope
from chiron.preprocess.looks import Looks, looks_of
from chiron.referral import BLANK, problems_of, referral_of, scope_of
from chiron.spec.decision import Conformal, Decision, Threshold
from chiron.spec.input_spec import InputSpec
from chiron.spec.scope import ScopeSpec

INPUT = InputSpec(img_size=64)
SPEC = ScopeSpec(
    quantiles=(tuple(np.linspace(0.5, 2.5, 101).tolist()),),
    limit_percent=99,
    fitted_on="cal",
    num_images=500,
    num_train_images=500,
    least_side_px=150,
    least_detail=0.01,
    colors="color",
)
FINE = Looks(side_px=200, is_blank=False, is_color=True, detail=0.1)


def looks(**changed) -> Looks:
    return Looks(**{**vars(FINE), **changed})


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"side_px": 31}, "too small: its shorter side has 31 px, the network reads 64 px"),
        ({"detail": 0.009}, "It is blurred"),
        ({"is_color": False}, "It is in gray, and all images that the scope was fitted on were in color"),
    ],
)
def test_a_problem_of_the_picture_is_told_by_one_sentence(changed, word):
    told = problems_of(looks(**changed), SPEC, INPUT)
    assert len(told) == 1
    assert word in told[0]
    assert problems_of(FINE, SPEC, INPUT) == ()
    assert problems_of(looks(**changed), None, INPUT) == ()
    assert problems_of(looks(is_blank=True, **changed), None, INPUT) == (BLANK,)


def test_small_is_what_is_far_below_input_and_fitting_images():
    """28 px that were enlarged in training too are no problem, nor is an image of half the fitting ones' side."""
    small = SPEC.model_copy(update={"least_side_px": 28})
    assert problems_of(looks(side_px=28), small, INPUT) == ()
    assert problems_of(looks(side_px=32), SPEC, INPUT) == ()
    gray = SPEC.model_copy(update={"colors": "both"})
    assert problems_of(looks(is_color=False), gray, INPUT) == ()


def test_the_percentile_is_the_share_of_fitting_images_below():
    said = scope_of(np.array([1.5]), (), SPEC)
    assert (said.percentile, said.limit, said.in_scope) == (pytest.approx(50), pytest.approx(2.48), True)
    assert scope_of(np.array([0.1]), (), SPEC).percentile == 0
    far = scope_of(np.array([2.49]), (), SPEC)
    assert (far.in_scope, far.percentile) == (False, pytest.approx(99.5))
    assert not scope_of(np.array([1.0]), ("blurred",), SPEC).in_scope
    assert scope_of(np.array([9.0]), (), SPEC).percentile == 100


THRESHOLD = Threshold(
    question="malignant", classes=("mel",), rule="expected", sensitivity=0.9, value=0.4, low=0.35, high=0.44,
    num_found=9, num_positive=10, num_groups=20, fitted_on="cal",
)  # fmt: skip


def reasons(decision: Decision, *, score=0.9, held=None, confidence=0.9, scope=None, problems=()) -> tuple[str, ...]:
    answers = {"malignant": Answer(score, 0.4, "yes")} if decision.thresholds else {}
    made = referral_of(scope, problems, answers, held, confidence, decision)
    assert made.refer == bool(made.reasons)
    return made.reasons


def test_reasons_follow_from_rules_and_each_is_told():
    threshold, sets = Decision(thresholds=(THRESHOLD,)), Decision(conformal=Conformal(score="lac", alpha=0.1))
    assert reasons(threshold, score=0.34) == reasons(threshold, score=0.45) == ()
    for score in (0.35, 0.4, 0.44):
        assert (
            f"{score:.4f}, lies in the 95 % interval of its threshold (0.3500 to 0.4400)"
            in reasons(threshold, score=score)[0]
        )
    assert reasons(sets, held=("a",)) == ()
    assert "error rate of 10%: 2 are left: a, b" in reasons(sets, held=("a", "b"))[0]
    assert "none fits" in reasons(sets, held=())[0]
    limit = Decision(refer_below=0.7)
    assert reasons(limit, confidence=0.7) == reasons(limit, confidence=None) == ()
    assert "0.6900, is below the bundle's limit for referral, 0.7000" in reasons(limit, confidence=0.69)[0]
    far = Scope(3.0, 99.97, 2.5, (), False)
    assert "less like the training images than 99.9 % of the images" in reasons(Decision(), scope=far)[0]
    assert reasons(Decision(), problems=("It is blurred.",)) == ("It is blurred.",)
    assert reasons(Decision()) == ()
    for told in (*reasons(threshold, score=0.4), *reasons(sets, held=()), *reasons(Decision(), scope=far)):
        assert "diagnos" not in told.lower()


def test_looks_are_those_of_the_picture():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    seen = looks_of(noise)
    assert (seen.side_px, seen.is_blank, seen.is_color) == (90, False, True)
    assert not looks_of(np.repeat(noise[..., :1], 3, axis=2)).is_color
    assert not looks_of(noise[..., :1]).is_color
    assert looks_of(np.full((50, 60, 3), (9, 90, 200), np.uint8)).is_blank
    deep = looks_of(noise.astype(np.uint16) * 257)
    assert deep == seen
    smooth = np.linspace(0, 255, 120).astype(np.uint8)[None, :, None].repeat(90, 0)
    assert looks_of(smooth).detail < seen.detail / 100
    pale = looks_of((noise // 4 + 100).astype(np.uint8))
    assert pale.detail == pytest.approx(seen.detail, rel=0.05)
