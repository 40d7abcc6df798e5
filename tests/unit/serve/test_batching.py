"""Requests share batches; each gets its own rows, whatever happens to the others."""

import asyncio
import threading

import numpy as np
import pytest

from chiron.scorer import Outputs
from chiron.serve.batching import Batcher


class Doubling:
    """A network whose logits are twice the first pixel; keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.running = 0

    def __call__(self, stored: np.ndarray) -> Outputs:
        self.running += 1
        assert self.running == 1  # one at a time
        self.threads.add(threading.get_ident())
        self.sizes.append(len(stored))
        if stored[:, 0, 0, 0].max() == 99:
            self.running -= 1
            raise RuntimeError("99")
        self.running -= 1
        return Outputs(np.stack([2.0 * stored[:, 0, 0, 0], np.zeros(len(stored))], axis=1)[None])


def images(*values: int) -> list[np.ndarray]:
    return [np.full((2, 2, 1), value, dtype=np.uint8) for value in values]


def run(*asked: list[np.ndarray], network: Doubling, **options) -> list:
    async def all_of_them():
        batcher = Batcher(network, **options)
        try:
            return await asyncio.gather(*[batcher.outputs(it) for it in asked], return_exceptions=True)
        finally:
            await batcher.close()

    return asyncio.run(all_of_them())


def test_each_request_gets_its_own_rows_from_one_batch():
    network = Doubling()
    found = run(images(1), images(2, 3), images(4), network=network)
    assert [it.logits[0, :, 0].tolist() for it in found] == [[2], [4, 6], [8]]
    assert network.sizes == [4]
    assert network.threads != {threading.get_ident()}


def test_batches_stay_within_their_size_but_for_one_large_request():
    network = Doubling()
    asked = [images(*range(k, k + 3)) for k in range(0, 30, 3)] + [images(*range(40, 49))]
    found = run(*asked, network=network, max_batch=7)
    assert [it.logits[0, :, 0].tolist() for it in found] == [[2 * int(i[0, 0, 0]) for i in own] for own in asked]
    assert sum(network.sizes) == 39
    assert sorted(network.sizes)[-2:] == [6, 9]


def test_an_error_ends_the_requests_of_its_batch_alone():
    network = Doubling()
    found = run(images(1), images(99), images(3), network=network, max_batch=1)
    assert isinstance(found[1], RuntimeError)
    assert [found[k].logits[0, 0, 0] for k in (0, 2)] == [2, 6]


def test_images_that_do_not_fit_together_end_their_requests_and_not_the_batcher():
    async def asked():
        batcher = Batcher(Doubling())
        wrong = batcher.outputs([np.zeros((2, 2, 1), np.uint8), np.zeros((3, 3, 1), np.uint8)])
        with pytest.raises(ValueError, match="same shape"):
            await wrong
        found = await batcher.outputs(images(5))
        await batcher.close()
        return found

    assert asyncio.run(asked()).logits[0, 0, 0] == 10


def test_what_nobody_waits_for_is_not_computed():
    async def asked():
        network = Doubling()
        batcher = Batcher(network, wait_seconds=0.05)
        leaving = asyncio.create_task(batcher.outputs(images(1, 2, 3)))
        await asyncio.sleep(0)
        staying = asyncio.create_task(batcher.outputs(images(4)))
        await asyncio.sleep(0)
        assert batcher.num_waiting == 4
        leaving.cancel()
        found = await staying
        await batcher.close()
        return found, network.sizes

    found, sizes = asyncio.run(asked())
    assert found.logits[0, 0, 0] == 8
    assert sizes == [1]
