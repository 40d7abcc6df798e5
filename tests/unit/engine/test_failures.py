import signal

import pytest

from chiron.core.errors import EngineError
from chiron.engine.failures import await_second_report, clear_failures


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            r"\(pid 7\) is killed by signal: Killed\.",
        ),
        (ConnectionResetError(104, "Connection reset by peer"), r"Connection reset by peer\."),
        (EOFError(), r"EOFError\."),
    ],
)
def test_a_worker_that_dies_is_one_sentence_however_torch_notices(error, told):
    with pytest.raises(EngineError, match=rf"must live\. Got: .*{told} Lower train\.num_workers"), clear_failures():
        raise error


def test_other_failures_pass_through():
    with pytest.raises(RuntimeError, match="mine"), clear_failures():
        raise RuntimeError("mine")


def test_the_second_report_of_a_death_is_waited_for():
    """torch raises from a signal's handler, a moment after the connection broke."""

    def tell(number, frame):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    before = signal.signal(signal.SIGALRM, tell)
    try:
        with pytest.raises(EngineError, match=r"must live\. Got: DataLoader worker"), clear_failures():
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                raise ConnectionResetError(104, "Connection reset by peer")
            except ConnectionError:
                await_second_report()
                raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
