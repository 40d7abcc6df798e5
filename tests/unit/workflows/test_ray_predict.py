"""Ray Data says of every file what the plain way says."""

import numpy as np
import polars as pl
import pytest
from PIL import Image
from small_bundles import pictures, small_bundle

from chiron.core.errors import DataError
from chiron.workflows.predict import predict
from chiron.workflows.ray_predict import predict_on_ray


@pytest.mark.slow
def test_rows_are_those_of_the_plain_way_in_order(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    bundle, images = small_bundle(tmp_path / "b"), tmp_path / "images"
    images.mkdir()
    for k, pixels in enumerate(pictures(10)):
        Image.fromarray(pixels[..., 0]).save(images / f"{k}.png")
    (images / "3.png").write_bytes(b"broken")
    predict(bundle, images, out=tmp_path / "plain.parquet", device="cpu", batch_size=4)
    plain = pl.read_parquet(tmp_path / "plain.parquet" / "part-*.parquet")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        made = predict_on_ray(bundle, [images], num_actors=2, batch_size=4)
        rows = list(made.iter_rows())
    finally:
        ray.shutdown()
    assert [row["sample_id"] for row in rows] == plain["sample_id"].to_list()
    assert [row["status"] for row in rows] == plain["status"].to_list()
    assert set(rows[0]) == set(plain.columns)
    for name in "abc":
        told = np.array([np.nan if row[f"prob_{name}"] is None else row[f"prob_{name}"] for row in rows], dtype=float)
        np.testing.assert_allclose(told, plain[f"prob_{name}"].to_numpy(), atol=1e-6)


def test_images_at_hand_are_refused(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(DataError, match=r"must be files\. Got images at hand"):
        predict_on_ray(tmp_path, [pictures(1)[0]])
