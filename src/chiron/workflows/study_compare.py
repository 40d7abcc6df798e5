"""interim"""

from typing import Any


def compare_arms(study, pairs, *, in_plan: bool) -> list[dict[str, Any]]:
    return []


def forest(result, out) -> None:
    pass
