"""What the loop does is seen in its checkpoints, bundles and histories."""

import pytest


@pytest.fixture(autouse=True)
def no_figures(undrawn):
    """No figures in the reports of these small trainings."""
