import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from chiron.core.errors import DataError
from chiron.engine.class_weights import class_weights
from chiron.spec.labels import LabelSpace

ISIC = [3165, 9012, 2326, 607, 1837, 167, 177, 440]  # training images a class of the published split
HAM = [327, 514, 1099, 115, 1113, 6705, 142]


def weigh(counts: list[int], weighting: str, cap: float | None = None) -> list[float]:
    y_train = np.repeat(np.arange(len(counts)), counts)
    labels = LabelSpace(names=tuple(f"c{k}" for k in range(len(counts))), positive="c0" if len(counts) == 2 else None)
    return class_weights(y_train, labels, weighting, cap=cap).tolist()


def test_inverse_frequency_with_a_cap_to_all_published_digits():
    got = [f"{weight:.6f}" for weight in weigh(ISIC, "inverse_frequency", cap=10)]
    assert got == ["5.602180", "1.967484", "7.622900", "10.000000", "9.652057", "10.000000", "10.000000", "10.000000"]


def test_balanced_and_its_mean_of_one_to_all_published_digits():
    balanced = [f"{weight:.3f}" for weight in weigh(HAM, "balanced")]
    assert balanced == ["4.375", "2.783", "1.302", "12.441", "1.285", "0.213", "10.075"]
    rescaled = weigh(HAM, "balanced_mean_one")
    assert [f"{weight:.3f}" for weight in rescaled] == ["0.943", "0.600", "0.281", "2.682", "0.277", "0.046", "2.172"]
    assert sum(rescaled) == pytest.approx(7)


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 200), min_size=3, max_size=8))
def test_balanced_equals_scikit_learns(counts):
    y_train = np.repeat(np.arange(len(counts)), counts)
    reference = compute_class_weight("balanced", classes=np.arange(len(counts)), y=y_train)
    assert weigh(counts, "balanced") == pytest.approx(reference.tolist(), rel=1e-6)
    # a five-class system adds 1e-6 to C n_c, which no printed digit shows
    assert weigh(counts, "balanced") == pytest.approx(
        [sum(counts) / (len(counts) * n + 1e-6) for n in counts], rel=1e-6
    )


def test_one_logit_has_the_negative_class_first():
    y_train = np.array([0] * 3 + [1] * 9)
    for positive, expected in (("sick", [12 / 18, 12 / 6]), ("well", [12 / 6, 12 / 18])):
        labels = LabelSpace(names=("sick", "well"), positive=positive, one_logit=True)
        torch.testing.assert_close(class_weights(y_train, labels, "balanced"), torch.tensor(expected))


@pytest.mark.parametrize("weighting", ["balanced", "balanced_mean_one", "inverse_frequency"])
def test_a_class_without_images_is_an_error(weighting):
    with pytest.raises(DataError, match=r"need training images of every class\. Got none of c1\."):
        weigh([5, 0, 3], weighting)
