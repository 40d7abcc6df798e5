"""Failed cases as wrong answers, by hand."""

import numpy as np
import pytest

from chiron.metrics.binary_question import BinaryQuestion
from chiron.metrics.worst_case import worst_case


def test_every_failed_case_is_wrong():
    positive = np.repeat([True, False], [20, 30])
    called = np.concatenate([np.ones(18, bool), np.zeros(2, bool), np.zeros(27, bool), np.ones(3, bool)])
    question = BinaryQuestion("sick", positive, called * 0.6, called, np.arange(50))
    told = worst_case(question, np.array([True, True, True, False]), np.arange(50, 54))
    assert (told["failed_positives"], told["failed_negatives"]) == (3, 1)
    assert told["sensitivity"]["value"] == pytest.approx(18 / 20)
    assert told["sensitivity_worst"]["value"] == pytest.approx(18 / 23)
    assert told["specificity_worst"]["value"] == pytest.approx(27 / 31)
    assert told["sensitivity_worst"]["low"] < 18 / 23 < told["sensitivity_worst"]["high"]
    assert told["sensitivity_worst"]["num_images"] == 23
