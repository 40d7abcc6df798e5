"""The sizes that a stride divides."""

import pytest

from chiron.core.errors import ModelError
from chiron.layers.input_size import require_multiple


def test_sides_are_multiples_of_the_stride():
    require_multiple(64, 96, 32)
    for height, width in [(65, 64), (64, 65), (0, 64), (16, 32)]:
        with pytest.raises(
            ModelError, match=rf"multiples of 32 pixels. Got {height} x {width}. Use for example img_size"
        ):
            require_multiple(height, width, 32)


def test_the_size_that_is_proposed_fits():
    with pytest.raises(ModelError, match="img_size 224"):
        require_multiple(230, 224, 32)
    with pytest.raises(ModelError, match="img_size 32"):
        require_multiple(5, 5, 32)
