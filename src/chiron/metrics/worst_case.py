"""Failed cases: how many there are, and what a question's numbers would be if every one of them were wrong."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from chiron.metrics.binary_question import BinaryQuestion


def worst_case(
    question: BinaryQuestion, failed_positive: Bool[np.ndarray, "failed"], failed_group: Int[np.ndarray, "failed"]
) -> dict[str, Any]:
    """Sensitivity and specificity as scored, and with every failed case counted as a wrong answer.

    Args:
        question: on the scored rows.
        failed_positive: the reference answer of each failed case. One whose reference is not known, or in doubt,
            stands here twice, as a positive and as a negative: it is a wrong answer for either.
        failed_group: its group, numbered as in `question`.
    """
    everyone = replace(
        question,
        positive=np.concatenate([question.positive, failed_positive]),
        called=np.concatenate([question.called, ~failed_positive]),
        score=np.concatenate([question.score, np.zeros(len(failed_positive))]),
        group_index=np.concatenate([question.group_index, failed_group]),
    )
    return {
        "failed_positives": int(failed_positive.sum()),
        "failed_negatives": int((~failed_positive).sum()),
        "sensitivity": asdict(question.sensitivity()),
        "sensitivity_worst": asdict(everyone.sensitivity()),
        "specificity": asdict(question.specificity()),
        "specificity_worst": asdict(everyone.specificity()),
    }
