"""Many clients at a time, for seconds; `benchmarks/server.py` does the same for minutes."""

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.slow
def test_thirty_two_clients_are_answered_without_an_error(trained_run):
    path = Path(__file__).parents[3] / "benchmarks" / "server.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_server", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    told = benchmark.measure(str(trained_run.path), clients=32, seconds=10, threads=1)
    assert told["errors"] == []
    assert told["requests"] > 100
    assert told["images_per_batch"] > 2  # requests share batches
    assert told["exit_code"] == 0
