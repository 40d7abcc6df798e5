"""The sinusoidal position code against its equation."""

import math

import pytest

from chiron.layers.position_code import sinusoidal_position_code


@pytest.mark.parametrize("dim", [8, 7])
def test_equals_a_naive_loop(dim):
    code = sinusoidal_position_code(60, dim)
    for place in range(60):
        for i in range(dim):
            angle = place / 10_000 ** (2 * (i // 2) / dim)
            assert abs(code[place, i].item() - (math.sin(angle) if i % 2 == 0 else math.cos(angle))) <= 1e-9


def test_far_places_are_exact_too():
    code = sinusoidal_position_code(5000, 512)
    assert code.shape == (5000, 512)
    assert abs(code[4999, 510].item() - math.sin(4999 / 10_000 ** (510 / 512))) <= 1e-9
    assert abs(code[4999, 1].item() - math.cos(4999)) <= 1e-9
