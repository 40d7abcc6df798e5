"""Holm's adjustment against the procedure itself."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chiron.metrics.holm import holm


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=50, deadline=None)
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    adjusted, divisors = holm(p_values)
    rejected, left = set(), dict(enumerate(p_values))
    while left and min(left.values()) <= alpha / len(left):
        smallest = min(left, key=lambda test: left[test])
        assert divisors[smallest] == len(left)
        rejected.add(smallest)
        del left[smallest]
    assert {test for test, p_value in enumerate(adjusted) if p_value <= alpha} == rejected
