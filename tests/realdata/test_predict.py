"""Prediction of many real images that is killed again and again ends with every image once."""

import random
import signal
import time
import zipfile

import polars as pl
import pytest
from killed_runs import start_command
from small_bundles import LABELS, small_bundle

from chiron.spec.input_spec import InputSpec
from chiron.workflows.predict import predict

pytestmark = [pytest.mark.realdata, pytest.mark.slow]
COUNT = 1200


@pytest.fixture(scope="module")
def part(real_data, tmp_path_factory):
    """A zip of some of the images, with a file that is none."""
    target = tmp_path_factory.mktemp("part") / "part.zip"
    with zipfile.ZipFile(real_data / "ham10000_200x150.zip") as source, zipfile.ZipFile(target, "w") as made:
        names = sorted(name for name in source.namelist() if name.endswith(".jpg"))[:COUNT]
        for name in names:
            made.writestr(name, source.read(name))
        made.writestr("images/broken.jpg", b"no image")
    return target


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_killed_and_resumed_no_row_is_lost_or_doubled(part, tmp_path, kind):
    bundle = small_bundle(tmp_path / "b", spec=InputSpec(img_size=32), labels=LABELS)
    out, moments, kills = tmp_path / f"p.{kind}", random.Random(kind), 0
    command = ["predict", bundle, part, "--out", out, "--resume", "--device", "cpu", "--batch-size", 16, "-q"]
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        process = start_command(command, tmp_path / "errors")
        process.join(moments.uniform(0.1, 0.7) if kills < 12 else None)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert process.exitcode == 2  # one file cannot be used
    assert kills > 1  # as many as the machine is slow
    table = (
        pl.read_csv(out)
        if kind == "csv"
        else pl.read_ndjson(out)
        if kind == "jsonl"
        else pl.read_parquet(out / "part-*.parquet")
    )
    rows = predict(bundle, part, device="cpu")
    assert table["sample_id"].to_list() == [row.name for row in rows]
    assert (len(rows), (table["status"] == "unreadable").sum()) == (COUNT + 1, 1)
