"""Ctrl-C and SIGTERM as a wish that the loop obeys where a checkpoint is exact."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

log = logging.getLogger("chiron.train")


class Interruption:
    """Turns Ctrl-C and SIGTERM into a wish that the loop obeys between two steps, where a checkpoint is exact.

    A second Ctrl-C stops at once.
    """

    def __init__(self, *, resumable: bool = True) -> None:
        self.wanted, self.resumable = False, resumable
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
        if self.wanted:
            log.warning("stopped: checkpoint written; continue with --resume" if self.resumable else "stopped")
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        log.warning("stopping after this step; press Ctrl-C again to stop at once")
