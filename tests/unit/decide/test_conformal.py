"""Prediction sets: scores by hand, quantiles, coverage in simulation against its exact distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from chiron.core.errors import DecisionError
from chiron.core.registry import leaf_names
from chiron.decide.conformal import (
    SCORES_PACKAGE,
    cross_prediction_sets,
    fit_conformal,
    fit_cross_conformal,
    prediction_sets,
)
from chiron.decide.conformal_scores import aps, lac, raps
from chiron.decide.members import sets_of
from chiron.spec.decision import Decision

CLASSES = ("a", "b", "c", "d")
HOW = {"classes": CLASSES, "alpha": 0.1, "fitted_on": "cal"}


def drawn(random, count: int, sharpness: float = 1.5):
    """Probabilities that are right, reference classes, and randomizers."""
    probs = special.softmax(random.normal(size=(count, 4)) * sharpness + np.array([1.0, 0, 0, -1]), axis=1)
    return probs, (probs.cumsum(axis=1) < random.random((count, 1))).sum(axis=1), random.random(count)


def test_the_scores_of_the_recipe_are_the_leaves():
    assert leaf_names(SCORES_PACKAGE) == ["aps", "lac", "raps"]


def test_scores_by_hand():
    probs, half = np.array([[0.2, 0.5, 0.1, 0.2]]), np.array([0.5])
    np.testing.assert_allclose(lac.scores(probs, None), [[0.8, 0.5, 0.9, 0.8]])
    np.testing.assert_allclose(aps.scores(probs, None), [[0.7, 0.5, 1.0, 0.9]])
    np.testing.assert_allclose(aps.scores(probs, half), [[0.6, 0.25, 0.95, 0.8]])
    np.testing.assert_allclose(raps.scores(probs, half), [[0.6, 0.25, 1.15, 0.9]])


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_mean_coverage_and_its_spread_are_the_exact_ones(random, score):
    num_cal, num_test, redraws = 49, 400, 300
    shares = []
    for _ in range(redraws):
        probs, y_true, drawn_numbers = drawn(random, num_cal + num_test)
        cal, test = slice(None, num_cal), slice(num_cal, None)
        conformal = fit_conformal(
            probs[cal], y_true[cal], None, score=score, by="all", randomizer=drawn_numbers[cal], **HOW
        )
        sets = prediction_sets(probs[test], conformal, classes=CLASSES, randomizer=drawn_numbers[test])
        shares.append(sets[np.arange(num_test), y_true[test]].mean())
    rank = 45  # ceil(50 * 0.9)
    error = np.std(shares) / np.sqrt(redraws)
    assert 0.9 - 3 * error <= np.mean(shares) <= 0.9 + 1 / 50 + 3 * error
    exact = stats.betabinom(num_test, rank, num_cal + 1 - rank)
    assert np.std(shares) == pytest.approx(exact.std() / num_test, rel=0.15)
    assert np.mean(np.array(shares) * num_test < exact.ppf(0.05)) == pytest.approx(0.05, abs=0.04)


@pytest.mark.parametrize("score", ["aps", "raps"])
def test_deterministic_sets_cover_and_are_larger(random, score):
    """What a bundle gives: at least 1 - alpha without an upper bound, for sets that no drawn number makes smaller."""
    shares, sizes = [], []
    for _ in range(150):
        probs, y_true, numbers = drawn(random, 300)
        cal, test = slice(None, 100), slice(100, None)
        for used in (None, numbers):
            conformal = fit_conformal(
                probs[cal], y_true[cal], None, score=score, by="all",
                randomizer=None if used is None else used[cal], **HOW
            )  # fmt: skip
            randomizer = None if used is None else used[test]
            sets = prediction_sets(probs[test], conformal, classes=CLASSES, randomizer=randomizer)
            sizes.append(sets.sum(axis=1).mean())
            shares.append(sets[np.arange(200), y_true[test]].mean())
    certain, alpha = shares[::2], HOW["alpha"]
    assert np.mean(certain) >= 1 - alpha - 3 * np.std(certain) / np.sqrt(len(certain))
    assert np.mean(sizes[::2]) > np.mean(sizes[1::2])


@pytest.mark.parametrize("score", ["aps", "raps"])
def test_where_outputs_tie_deterministic_sets_cover_more_and_never_less(random, score):
    """A network that is sure of everything and wrong in every fifth case: all classes score 1, and all enter."""
    y_true = random.integers(0, 2, 400)
    called = np.where(random.random(400) < 0.2, 1 - y_true, y_true)
    probs = np.stack([1.0 - called, called], axis=1)
    how = {"score": score, "by": "all", "alpha": 0.1, "classes": ("a", "b"), "fitted_on": "cal"}
    conformal = fit_conformal(probs[:200], y_true[:200], None, **how)
    assert prediction_sets(probs[200:], conformal, classes=("a", "b")).all()


def test_a_bundles_sets_are_those_of_the_outputs_alone(random):
    """Equal outputs, equal sets: nothing is drawn from a name or a place."""
    probs, y_true, _ = drawn(random, 120)
    conformal = fit_conformal(probs, y_true, None, score="aps", by="all", **HOW)
    decision = Decision(conformal=conformal)
    logits = np.log(np.maximum(np.repeat(probs[:5], 3, axis=0), 1e-12))[np.newaxis]
    sets = sets_of(logits, decision, CLASSES)
    assert (sets.reshape(5, 3, -1) == sets[::3][:, np.newaxis]).all()
    assert (sets[::3] == prediction_sets(probs[:5], conformal, classes=CLASSES)).all()


def test_by_class_and_by_group_each_part_is_covered(random):
    covered = {"class": np.zeros((200, 4)), "site": np.zeros((200, 2))}
    for row in range(200):
        probs, y_true, _ = drawn(random, 1000)
        site = np.where(random.random(1000) < 0.3, "s1", "s0")
        wrong = (site == "s1") & (random.random(1000) < 0.5)  # a site where the probabilities are bad
        probs[wrong] = probs[wrong][:, ::-1]
        for by, values in (("class", None), ("site", site.tolist())):
            half = [None, None] if values is None else [values[:500], values[500:]]
            conformal = fit_conformal(probs[:500], y_true[:500], None, score="lac", by=by, by_values=half[0], **HOW)
            sets = prediction_sets(probs[500:], conformal, classes=CLASSES, by_values=half[1])
            hit = sets[np.arange(500), y_true[500:]]
            parts = y_true[500:] if by == "class" else (site[500:] == "s1").astype(int)
            covered[by][row] = [hit[parts == k].mean() for k in range(covered[by].shape[1])]
    for by, shares in covered.items():
        error = shares.std(axis=0) / np.sqrt(200)
        assert (shares.mean(axis=0) > 0.9 - 3 * error).all(), by
        assert (shares.mean(axis=0) < 0.9 + 0.03 + 3 * error).all(), by


def test_units_of_one_group_are_covered_as_units(random):
    """Groups of 1 or 8 units that are right or wrong together: they are not counted as if they were alone."""
    shares = {"groups": [], "alone": []}
    for _ in range(300):
        sizes = random.choice([1, 8], 140)
        index = np.repeat(np.arange(140), sizes)
        probs, y_true, _ = drawn(random, 140)
        probs, y_true = probs[index], y_true[index]
        cal = index < 40
        for name, groups in (("groups", index[cal].tolist()), ("alone", None)):
            conformal = fit_conformal(probs[cal], y_true[cal], groups, score="lac", by="all", **HOW)
            sets = prediction_sets(probs[~cal], conformal, classes=CLASSES)
            shares[name].append(sets[np.arange((~cal).sum()), y_true[~cal]].mean())
    error = np.std(shares["groups"]) / np.sqrt(300)
    assert np.mean(shares["groups"]) > 0.9 - 3 * error
    assert np.mean(shares["groups"]) - np.mean(shares["alone"]) > 0.02


def test_too_few_groups_always_enter(random):
    probs, y_true, _ = drawn(random, 300)
    rare = np.flatnonzero(y_true == 3)
    kept = np.setdiff1d(np.arange(300), rare[8:])  # 8 of class d, one less than ceil(1 / 0.1) - 1
    conformal = fit_conformal(probs[kept], y_true[kept], None, score="lac", by="class", **HOW)
    assert conformal.quantiles["d"] is None
    assert conformal.num_groups["d"] == 8
    assert prediction_sets(probs, conformal, classes=CLASSES)[:, 3].all()
    kept = np.setdiff1d(np.arange(300), rare[9:])
    conformal = fit_conformal(probs[kept], y_true[kept], None, score="lac", by="class", **HOW)
    assert conformal.quantiles["d"] == pytest.approx((1 - probs[rare[:9], 3]).max())
    tied = ["one"] * 9 + [str(k) for k in range(len(kept) - 9)]
    order = np.concatenate([rare[:9], np.setdiff1d(kept, rare[:9])])
    conformal = fit_conformal(probs[order], y_true[order], tied, score="lac", by="class", **HOW)
    assert (conformal.quantiles["d"], conformal.num_groups["d"]) == (None, 1)


def test_an_unmet_value_gets_every_class(random):
    probs, y_true, _ = drawn(random, 100)
    conformal = fit_conformal(probs, y_true, None, score="lac", by="site", by_values=["x"] * 100, **HOW)
    sets = prediction_sets(probs[:2], conformal, classes=CLASSES, by_values=["x", "new"])
    assert sets[1].all()
    assert not sets[0].all()


@given(seed=st.integers(0, 500), score=st.sampled_from(["lac", "aps", "raps"]))
def test_sets_do_not_depend_on_order_and_grow_with_confidence(seed, score):
    random = np.random.default_rng(seed)
    probs, y_true, numbers = drawn(random, 60)
    order = random.permutation(60)
    one = fit_conformal(probs, y_true, None, score=score, by="all", randomizer=numbers, **HOW)
    other = fit_conformal(probs[order], y_true[order], None, score=score, by="all", randomizer=numbers[order], **HOW)
    assert one == other
    wide = fit_conformal(probs, y_true, None, score=score, by="all", randomizer=numbers, **(HOW | {"alpha": 0.05}))
    narrow_sets, wide_sets = (prediction_sets(probs, it, classes=CLASSES, randomizer=numbers) for it in (one, wide))
    assert (wide_sets >= narrow_sets).all()
    held = narrow_sets[np.arange(60), y_true].sum()
    assert held == 55  # ceil(61 * 0.9) scores lie at or below the quantile


def cv_plus(own, member, scores_of, alpha):
    """The rule as written: a class enters when fewer than (1 - alpha)(n + 1) held-out scores lie below its own."""
    sets = np.zeros(scores_of[0].shape, dtype=bool)
    for i, k in np.ndindex(*sets.shape):
        lower = sum(own[j] < scores_of[member[j]][i, k] for j in range(len(own)))
        sets[i, k] = lower < (1 - alpha) * (len(own) + 1) - 1e-9
    return sets


@pytest.mark.parametrize("leaf", [aps, lac])
def test_cross_fitted_sets_are_cv_plus(random, leaf):
    parts, new = [drawn(random, 20 + k) for k in range(3)], [drawn(random, 40)[0] for _ in range(3)]
    if leaf is lac:  # many equal scores
        parts = [(probs.round(1), *others) for probs, *others in parts]
        new = [probs.round(1) for probs in new]
    numbers = random.random(40)
    fitted = fit_cross_conformal(
        [part[0] for part in parts],
        [part[1] for part in parts],
        None,
        score=leaf.__name__.rpartition(".")[2],
        alpha=0.1,
        member_randomizer=[part[2] for part in parts],
    )
    own = [leaf.scores(p, u)[i, y[i]] for p, y, u in parts for i in range(len(y))]
    member = np.repeat(np.arange(3), [20, 21, 22])
    wanted = cv_plus(own, member, [leaf.scores(probs, numbers) for probs in new], 0.1)
    assert (cross_prediction_sets(new, fitted, randomizer=numbers) == wanted).all()
    assert fitted.fitted_on == "cross_fit"
    assert fitted.num_groups == {"all": 63}


def test_one_network_by_cv_plus_is_the_split_and_groups_widen(random):
    probs, y_true, _ = drawn(random, 80)
    new = drawn(random, 50)[0]
    split = fit_conformal(probs, y_true, None, score="lac", by="all", **HOW)
    cross = fit_cross_conformal([probs], [y_true], None, score="lac", alpha=0.1)
    plain = prediction_sets(new, split, classes=CLASSES)
    assert (cross_prediction_sets([new], cross) == plain).all()
    groups = np.arange(80) // 4
    split = fit_conformal(probs, y_true, groups.tolist(), score="lac", by="all", **HOW)
    cross = fit_cross_conformal([probs], [y_true], [groups.tolist()], score="lac", alpha=0.1)
    assert cross.largest_group == 4
    wide = cross_prediction_sets([new], cross)
    assert (wide == prediction_sets(new, split, classes=CLASSES)).all()
    assert wide.sum() > plain.sum()


def test_what_does_not_fit_is_told(random):
    probs, y_true, _ = drawn(random, 30)
    with pytest.raises(DecisionError, match=r"sets by 'site' need its value for every unit, 30\. Got none"):
        fit_conformal(probs, y_true, None, score="lac", by="site", **HOW)
    conformal = fit_conformal(probs, y_true, None, score="lac", by="all", **HOW)
    with pytest.raises(DecisionError, match=r"probability of every class, 2\. Got 4 columns"):
        prediction_sets(probs, conformal, classes=("a", "b"))
    with pytest.raises(DecisionError, match=r"randomizer must lie in \[0, 1\)"):
        prediction_sets(probs, conformal, classes=CLASSES, randomizer=np.full(30, 1.0))
    cross = fit_cross_conformal([probs, probs], [y_true, y_true], None, score="lac", alpha=0.1)
    with pytest.raises(DecisionError, match="Use cross_prediction_sets"):
        prediction_sets(probs, cross, classes=CLASSES)
    with pytest.raises(DecisionError, match=r"of every network, 2\. Got 1"):
        cross_prediction_sets([probs], cross)
