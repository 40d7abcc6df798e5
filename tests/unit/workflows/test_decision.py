"""The limit of referral is that of the table that shows what referring brings."""

import numpy as np
import pytest

from chiron.core.errors import SpecError
from chiron.metrics.abstention import referral_table
from chiron.metrics.means import rows_of
from chiron.spec.decision import DecisionRecipe
from chiron.workflows.decision import refer_below


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5])
def test_as_many_go_to_a_person_as_the_table_says(random, share):
    probs = random.dirichlet(np.ones(3), 97).round(2)  # with equal ones
    limit = refer_below(DecisionRecipe(refer_share=share), probs)
    confidence = probs.max(axis=1)
    row = referral_table(confidence, np.zeros(97, dtype=bool), rows_of(None, 97), shares=(share,))[0]
    assert limit == row.least_confidence
    assert (confidence < limit).sum() == row.num_referred <= share * 97


def test_without_a_share_there_is_no_limit(random):
    assert refer_below(DecisionRecipe(), random.dirichlet(np.ones(3), 5)) is None


def test_a_limit_needs_images_to_be_fitted_on(tmp_path, class_folders, tiny_recipe):
    from chiron.workflows.train import train

    with pytest.raises(
        SpecError, match=r"decision\.refer_share 0\.1 must be fitted on images that training does not see"
    ):
        train(str(tiny_recipe), class_folders, tmp_path / "run", overrides=("decision.refer_share=0.1",), device="cpu")
