"""The job that `torchrun` started this process in, as far as its environment tells: who talks, and how it fails."""

import json
import logging
import os
import time
from collections import Counter
from pathlib import Path

from chiron.core.errors import SpecError
from chiron.core.hashing import sha256_bytes


def job_rank() -> int:
    """The number of this process among all of its job, from 0; alone it is 0."""
    return int(os.environ.get("RANK", "0")) if job_size() > 1 else 0


def job_size() -> int:
    """How many processes the job has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def require_alone(verb: str) -> None:
    """Stops several processes of a job at a verb that is the work of one; call it before anything is read.

    Raises:
        SpecError: torchrun started more than one.
    """
    if job_size() > 1:
        raise SpecError(
            f"chiron {verb} is the work of one process. Got {job_size()} of them, started together by torchrun. Start "
            "it without torchrun."
        )


def is_first_to_say(text: str) -> bool:
    """Whether no other process of the job on this machine has said this; from now on this one has.

    Without the folder that torchrun keeps for each start of a job every process is the first.
    """
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if job_size() == 1 or not error_file:
        return True
    place = Path(error_file).parents[1] / f"said-{sha256_bytes(text.encode())[:16]}"
    try:
        place.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # what is said twice does no harm
        return True
    return True


def note_failure(message: str, exit_code: int) -> None:
    """Leaves the sentence where torchrun looks for it, so that its summary ends with it instead of a traceback."""
    error_file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not error_file or not message:
        return
    told = {"py_callstack": message, "timestamp": str(int(time.time()))}
    try:
        Path(error_file).write_text(
            json.dumps({"message": {"message": message, "errorCode": exit_code, "extraInfo": told}})
        )
    except OSError:  # the message itself is on stderr
        return


class SaidOnce(logging.Filter):
    """Lets a line through in the first process of the job that logs it; a line logged again is another one."""

    def __init__(self) -> None:
        super().__init__()
        self._times: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this process prints the line."""
        text = record.getMessage()
        self._times[text] += 1
        return record.levelno < logging.WARNING or is_first_to_say(f"{self._times[text]} {text}")
