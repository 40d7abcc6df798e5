"""Batcher: images of concurrent requests wait a few milliseconds for each other and go through the network as one."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from chiron.preprocess.resize import StoredImage
from chiron.scorer import Outputs, StoredImages

__all__ = ["Batcher"]


@dataclass(frozen=True)
class _Job:
    stored: Sequence[StoredImage]
    done: "asyncio.Future[Outputs]"


class Batcher:
    """Runs one network in one thread of its own; callers of an event loop share its batches.

    Args:
        run: what the network gives for a batch.
        max_batch: images of a batch; one request with more makes a batch by itself.
        wait_seconds: how long the first image waits for others.
        seen: is told the size of every batch.
    """

    def __init__(
        self,
        run: Callable[[StoredImages], Outputs],
        *,
        max_batch: int = 32,
        wait_seconds: float = 0.003,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.run, self.max_batch, self.wait_seconds, self.seen = run, max_batch, wait_seconds, seen
        self._jobs: deque[_Job] = deque()
        self._there_are_jobs = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chiron-network")
        self._task: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        """Images that are in no batch yet."""
        return sum(len(job.stored) for job in self._jobs)

    async def outputs(self, stored: Sequence[StoredImage]) -> Outputs:
        """What the network gives for these images, in order; whatever else was in their batches."""
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        job = _Job(stored, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._there_are_jobs.set()
        return await job.done

    async def close(self) -> None:
        """Ends the thread; to be called when nothing is asked any more."""
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _work(self) -> None:
        while True:
            await self._there_are_jobs.wait()
            if self.num_waiting < self.max_batch:
                await asyncio.sleep(self.wait_seconds)
            if batch := self._next_batch():
                await self._answer(batch)

    def _next_batch(self) -> list[_Job]:
        """The jobs that have waited longest, without those that nobody waits for any more."""
        batch: list[_Job] = []
        size = 0
        while self._jobs and (not batch or size + len(self._jobs[0].stored) <= self.max_batch):
            job = self._jobs.popleft()
            if not job.done.cancelled():
                batch.append(job)
                size += len(job.stored)
        if not self._jobs:
            self._there_are_jobs.clear()
        return batch

    async def _answer(self, batch: list[_Job]) -> None:
        try:
            stored = np.stack([image for job in batch for image in job.stored])
            self.seen(len(stored))
            outputs = await asyncio.get_running_loop().run_in_executor(self._thread, self.run, stored)
        except Exception as error:
            for job in batch:
                if not job.done.cancelled():
                    job.done.set_exception(error)
            return
        rows = iter(outputs.rows())
        for job in batch:
            own = Outputs.stacked([next(rows) for _ in job.stored])
            if not job.done.cancelled():
                job.done.set_result(own)
