import signal
import sys

import pytest
from torch._utils import ExceptionWrapper

from chiron.core.errors import DataError, EngineError
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


def test_a_mistake_that_a_worker_finds_is_told_without_its_traceback():
    """As torch hands it over: an error of the same class, whose text is the traceback."""
    try:
        try:
            raise ValueError("broken: marker")
        except ValueError as error:
            raise DataError("An image must be whole. Got a.png.\nLook at it.") from error
    except DataError:
        told = ExceptionWrapper(sys.exc_info(), where="in DataLoader worker process 0")
    with pytest.raises(DataError) as caught, clear_failures():
        told.reraise()
    assert str(caught.value) == "An image must be whole. Got a.png.\nLook at it."
    with pytest.raises(DataError, match=r"^As it is\.$"), clear_failures():
        raise DataError("As it is.")


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
