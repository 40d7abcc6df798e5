"""Servers of this machine, and no waiting between tries."""

import pytest
from stand_in import stand_in

from chiron.data.fetch import http


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(http, "PAUSES_SECONDS", (0.0, 0.0))
    with stand_in() as started:
        yield started


@pytest.fixture
def other_server():
    with stand_in() as started:
        yield started
