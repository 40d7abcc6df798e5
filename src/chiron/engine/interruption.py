"""Ctrl-C and SIGTERM as a wish that the loop obeys where a checkpoint is exact."""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

log = logging.getLogger("chiron.train")


class Interruption:
    """Turns Ctrl-C and SIGTERM into a wish that the loop obeys between two steps, where a checkpoint is exact.

    A second Ctrl-C stops at once; a second SIGTERM does not: job systems send it to the whole job, and torchrun sends
    it on.

    Args:
        agree: whether any process of the job wants to stop, which all must ask together.
    """

    def __init__(self, *, resumable: bool = True, agree: Callable[[bool], bool] = bool) -> None:
        self.wanted, self.resumable, self.agree = False, resumable, agree
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop_if_wanted(self) -> None:
        """Ends the loop; call it right after a checkpoint was written.

        Raises:
            KeyboardInterrupt: somebody asked to stop.
        """
        if self.agree(self.wanted):
            log.warning("stopped: checkpoint written; continue with --resume" if self.resumable else "stopped")
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.wanted:
            log.warning("stopping after this step; press Ctrl-C again to stop at once")
        self.wanted = True
