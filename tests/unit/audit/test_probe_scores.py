"""Probe scores: pairs inside folds, equal to naive counting, scikit-learn and the shared interval; honest on noise."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from chiron.audit.probe_scores import (
    PENALTY,
    Scored,
    Targets,
    auroc_p_value,
    class_auroc,
    cross_fitted,
    grouped_folds,
    mean_auroc,
    permutation_p_value,
    permuted_labels,
    scored_class,
)
from chiron.metrics.intervals.auroc import auroc_interval, placements


def drawn(seed: int, *, n: int = 120, shift: float = 0.0, group_size: int = 2):
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // group_size
    positive = rng.permutation(np.arange(n // group_size) % 2 == 0)[groups]
    return positive, rng.normal(size=n) + shift * positive, groups, groups % 5


def targets_of(positive: np.ndarray, groups: np.ndarray, fold: np.ndarray) -> Targets:
    both = np.column_stack([~positive, positive])
    return Targets(("a", "b"), both, np.ones_like(both), groups, fold, (1,))


def test_only_pairs_inside_a_fold_count():
    positive, score, groups, fold = drawn(0, shift=1)
    shifted = score + 100 * fold  # as of fold models whose scales differ
    pairs = [
        (score[i] > score[j]) + 0.5 * (score[i] == score[j])
        for i in np.flatnonzero(positive)
        for j in np.flatnonzero(~positive)
        if fold[i] == fold[j]
    ]
    assert Scored.of(positive, score, groups, fold).value == pytest.approx(np.mean(pairs))
    one, other = (Scored.of(positive, values, groups, fold).interval() for values in (score, shifted))
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_one_fold_is_the_shared_interval_and_variances_of_folds_add():
    positive, score, groups, fold = drawn(1, shift=1)
    one = Scored.of(positive, score, groups, np.zeros_like(fold))
    shared = auroc_interval(positive, score, groups)
    assert one.value == pytest.approx(placements(positive, score, groups).value)
    assert (one.interval().low, one.interval().high) == pytest.approx((shared.low, shared.high))
    folds = Scored.of(positive, score, groups, fold).interval()
    assert folds.high - folds.low == pytest.approx(shared.high - shared.low, rel=0.1)


def test_a_perfect_order_is_exactly_one_whatever_the_weights_of_folds():
    groups = np.arange(2130) // 3
    positive = np.random.default_rng(0).permutation(710)[groups] < 300
    assert all(Scored.of(positive, positive * 1.0, groups, groups % folds).value == 1 for folds in range(2, 12))


def test_a_fold_without_one_side_has_no_pairs():
    positive, score, groups, fold = drawn(2)
    alone = fold.copy()
    alone[groups == groups[positive][0]] = 5
    assert np.isfinite(Scored.of(positive, score, groups, alone).value)


@pytest.mark.parametrize("is_discrete", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_test_and_interval_never_disagree(seed, is_discrete):
    positive, score, groups, fold = drawn(seed, shift=0.7)
    score = np.round(score) if is_discrete else score
    scored = Scored.of(positive, score, groups, fold, is_discrete=is_discrete)
    p_value = auroc_p_value(scored)
    assert 0 < p_value < 1
    assert scored.interval(confidence=1 - p_value).low == pytest.approx(0.5, abs=1e-6)
    found = class_auroc("b", scored)
    assert (found.p_value < 0.05) == (found.low > 0.5)


def test_at_or_below_one_half_there_is_nothing_to_test():
    positive, score, groups, fold = drawn(3, shift=-1)
    assert auroc_p_value(Scored.of(positive, score, groups, fold)) == 1


def test_perfect_order_is_tested_by_the_score_part():
    positive, _, groups, fold = drawn(4)
    assert auroc_p_value(Scored.of(positive, positive.astype(float), groups, fold)) < 1e-6


def test_a_rare_value_of_one_class_is_seen_where_most_are_tied():
    rng = np.random.default_rng(0)
    positive = np.arange(600) < 450
    value = (positive & (rng.uniform(size=600) < 0.08)).astype(float)
    one, other = (
        auroc_p_value(Scored.of(positive, value, np.arange(600), np.arange(600) % 5, is_discrete=discrete))
        for discrete in (True, False)
    )
    assert one < 1e-4 < other


def test_scores_equal_ridge_of_scikit_learn(random):
    features, wanted, fold = random.normal(size=(60, 5)), random.normal(size=(60, 3)), np.arange(60) % 4
    scores = cross_fitted(features, wanted, fold)
    for number in range(4):
        out = fold == number
        expected = Ridge(alpha=PENALTY).fit(features[~out], wanted[~out]).predict(features[out])
        assert scores[out] == pytest.approx(expected, abs=1e-7)


def test_no_fold_sees_its_own_labels(random):
    features, wanted, fold = random.normal(size=(60, 5)), random.normal(size=(60, 1)), np.arange(60) % 4
    changed = wanted.copy()
    changed[fold == 2] += 100
    before, after = cross_fitted(features, wanted, fold), cross_fitted(features, changed, fold)
    assert np.array_equal(before[fold == 2], after[fold == 2])
    assert not np.array_equal(before[fold == 1], after[fold == 1])


def test_folds_keep_groups_whole_and_classes_about_equal():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 100, 400)
    labels = (groups % 3 == 0).astype(np.int64)
    fold = grouped_folds(labels, groups)
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    shares = [labels[fold == number].mean() for number in range(5)]
    assert max(shares) - min(shares) < 0.1
    assert np.array_equal(fold, grouped_folds(labels, groups))
    labels[:2] = 2  # a class of two images: no warning, no error
    assert set(grouped_folds(labels, groups)) == set(range(5))


def test_groups_exchange_labels_as_a_whole():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), np.arange(30) % 3 + 1)[rng.permutation(60)]
    positive = rng.uniform(size=60) < 0.4
    dealt = permuted_labels(positive, groups, 50, rng)
    assert dealt.sum(axis=0).tolist() == [positive.sum()] * 50
    whole = lambda labels: sorted(tuple(labels[groups == group]) for group in range(30))  # noqa: E731
    assert all(whole(dealt[:, k]) == whole(positive) for k in range(50))
    assert (dealt != positive[:, None]).any()


def test_groups_of_unequal_size_exchange_labels_with_their_neighbors_in_size():
    rng = np.random.default_rng(0)
    sizes = np.array([*range(20, 80), 500, 900])
    groups = np.repeat(np.arange(62), sizes)
    sick = rng.permutation(62) < 31
    dealt = permuted_labels(sick[groups], groups, 100, rng)
    of_group = np.array([dealt[groups == group].mean(axis=0) for group in range(62)])
    assert set(of_group.ravel()) == {0.0, 1.0}  # a group of one class stays of one class
    for first in (0, 8, 16, 24, 32, 40):
        assert (of_group[first : first + 8].sum(axis=0) == sick[first : first + 8].sum()).all()
    assert (of_group[48:].sum(axis=0) == sick[48:].sum()).all()  # the few that are left join the bin below
    assert (of_group != sick[:, None]).mean() == pytest.approx(0.5, abs=0.1)


def test_labels_that_differ_inside_a_group_keep_their_order_and_share():
    groups = np.repeat(np.arange(10), [6] * 5 + [12] * 5)
    positive = np.concatenate([np.tile([False] * 3 + [True] * 3, 5), np.tile([False] * 6 + [True] * 6, 5)])
    dealt = permuted_labels(positive, groups, 20, np.random.default_rng(0))
    assert (dealt == positive[:, None]).all()


@pytest.mark.parametrize("largest", [80, 400])
def test_a_shortcut_is_seen_where_no_two_groups_are_of_equal_size(largest):
    rng = np.random.default_rng(0)
    sizes = np.linspace(20, largest, 60).astype(int)
    groups, sick = np.repeat(np.arange(60), sizes), rng.permutation(60) < 30
    fold, positive = (np.arange(60) % 5)[groups], sick[groups]
    targets, features = targets_of(positive, groups, fold), positive[:, None].astype(float)
    value = scored_class(features, targets, 1).value
    assert value == 1
    assert permutation_p_value(value, features, targets, 1, seed=0) < 1e-3


def test_where_the_size_of_a_group_tells_its_class_permutations_tell_nothing():
    groups = np.repeat(np.arange(80), [1] * 40 + [2] * 40)
    positive = groups >= 40
    features = np.random.default_rng(0).normal(size=(120, 2)) + positive[:, None]
    targets = targets_of(positive, groups, groups % 5)
    value = scored_class(features, targets, 1).value
    assert permutation_p_value(value, features, targets, 1, seed=0) is None


@pytest.mark.parametrize("are_equal", [True, False])
def test_on_noise_permutations_reject_no_more_than_they_say(are_equal):
    rejected = []
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        positive, _, groups, fold = drawn(seed)
        if not are_equal:
            groups = np.repeat(np.arange(60), rng.integers(1, 21, 60))
            positive, fold = rng.permutation(positive[::2])[groups], groups % 5
        features = rng.normal(size=(60, 3))[groups]
        value = scored_class(features, targets := targets_of(positive, groups, fold), 1).value
        rejected.append(permutation_p_value(value, features, targets, 1, seed=seed) < 0.05)
    assert np.mean(rejected) <= 0.10


def test_permutations_see_what_is_there_and_are_the_same_each_time():
    positive, _, groups, fold = drawn(0)
    features = np.random.default_rng(0).normal(size=(120, 2)) + 2 * positive[:, None]
    targets = targets_of(positive, groups, fold)
    value = scored_class(features, targets, 1).value
    first = permutation_p_value(value, features, targets, 1, seed=1)
    assert first < 1e-4
    assert first == permutation_p_value(value, features, targets, 1, seed=1)
    assert permutation_p_value(0.5, np.zeros((120, 1)), targets, 1, seed=1) == 1  # nothing varies


def test_the_mean_over_classes_has_an_interval_around_it():
    parts = [Scored.of(*drawn(seed, shift=1)) for seed in range(3)]
    value, interval = mean_auroc(parts)
    assert value == pytest.approx(np.mean([part.value for part in parts]))
    widths = [part.interval().high - part.interval().low for part in parts]
    assert interval.low < value < interval.high
    assert interval.high - interval.low < max(widths)
    alone, same = mean_auroc(parts[:1])
    assert (alone, same) == (parts[0].value, parts[0].interval())
    _, equal = mean_auroc([parts[0], parts[0]])  # fully alike: no narrower than one
    assert equal.high - equal.low == pytest.approx(widths[0], rel=0.1)
