"""What a process of a job says, and what it leaves to the others."""

import json
import logging

import pytest

from chiron.core.job import SaidOnce, is_first_to_say, job_rank, job_size, note_failure


@pytest.fixture
def job(monkeypatch, tmp_path):
    """Makes this process the one of a rank in a job of two, as torchrun would."""

    def become(rank: int) -> None:
        folder = tmp_path / "attempt_0" / str(rank)
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "error.json"))

    return become


def test_alone_there_is_no_job(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (job_rank(), job_size()) == (0, 1)
    assert is_first_to_say("a")
    assert is_first_to_say("a")


def test_a_sentence_is_said_by_the_first_process_that_has_it(job):
    job(1)
    assert job_rank() == 1
    assert is_first_to_say("no data")
    job(0)
    assert not is_first_to_say("no data")
    assert is_first_to_say("something else")


def test_without_the_folder_of_torchrun_every_process_speaks(job, monkeypatch, tmp_path):
    job(1)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "gone" / "0" / "error.json"))
    assert is_first_to_say("a")
    assert is_first_to_say("a")


def test_a_line_that_comes_twice_is_two_lines(job):
    def heard(rank, *texts, level=logging.WARNING):
        job(rank)
        once = SaidOnce()
        return [t for t in texts if once.filter(logging.LogRecord("chiron", level, "", 0, t, None, None))]

    assert heard(0, "slow", "slow") == ["slow", "slow"]
    assert heard(1, "slow", "slow", "slow", "stopped") == ["slow", "stopped"]
    assert heard(1, "epoch", level=logging.INFO) == ["epoch"]


def test_torchrun_finds_the_sentence(job, tmp_path):
    """In the words of torch's own reader of that file."""
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    job(1)
    note_failure("The data must be there. Got none.", 2)
    place = tmp_path / "attempt_0" / "1" / "error.json"
    failure = ProcessFailure(local_rank=1, pid=1, exitcode=2, error_file=str(place))
    assert failure.message["extraInfo"]["py_callstack"] == "The data must be there. Got none."
    assert json.loads(place.read_text())["message"]["errorCode"] == 2
    place.unlink()
    note_failure("", 2)
    assert not place.exists()
