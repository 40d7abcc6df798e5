"""Prediction on a cluster: Ray Data deals the files to actors, each of which holds the bundle.

For what no single machine can finish; on one machine `predict_stream` is as fast and holds less. Files must be readable
under the same path by every machine. Rows come in the order of the files, each as in a table of `chiron predict`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from chiron.core.errors import DataError, SpecError
from chiron.data.source import ImageSource
from chiron.predictor import Input, Predictor, find_inputs
from chiron.spec.decision import Tta
from chiron.workflows.predict import load_scorer
from chiron.workflows.prediction_table import PredictionTable

if TYPE_CHECKING:
    from ray.data import Dataset

_FLAT = Path("rows.parquet")  # rows as a Parquet table of `chiron predict` has them


def predict_on_ray(
    bundle: str | Path,
    paths: Iterable[str | Path],
    *,
    others: Sequence[str | Path] = (),
    tta: Tta = "none",
    num_actors: int = 2,
    num_gpus: float = 0,
    batch_size: int = 32,
) -> "Dataset":
    """A Ray Dataset of one row an image, computed when it is asked for: `write_parquet`, `iter_rows`, ...

    Args:
        paths: files, folders, patterns and zips, as every machine of the cluster sees them.
        num_actors: copies of the bundle that work at the same time.
        num_gpus: of each copy.
    Raises:
        SpecError: Ray is not installed.
        DataError: a path does not exist.
    """
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext
    except ImportError as error:
        raise SpecError(
            "Prediction on a cluster needs Ray. Got none. Install it: pip install 'chiron-imaging[ray]'."
        ) from error
    given = find_inputs(list(paths))
    if any(not isinstance(item, Input) for item in given):
        raise DataError("Images on a cluster must be files. Got images at hand. Give paths.")
    DataContext.get_current().execution_options.preserve_order = True
    files = [{"name": it.name, "root": str(it.source.root.absolute()), "path": it.path} for it in given.files()]
    return ray.data.from_items(files).map_batches(
        _Actor,
        fn_constructor_args=(*_absolute(bundle, others), tta, batch_size),
        batch_size=batch_size,
        compute=ActorPoolStrategy(size=num_actors),
        num_gpus=num_gpus,
    )


def _absolute(bundle: str | Path, others: Sequence[str | Path]) -> tuple[str, list[str]]:
    """Actors have working folders of their own."""
    return str(Path(bundle).absolute()), [str(Path(other).absolute()) for other in others]


class _Actor:
    """The bundle in a process of its own."""

    def __init__(self, bundle: str, others: Sequence[str], tta: Tta, batch_size: int) -> None:
        self.predictor = Predictor(load_scorer(bundle, others), batch_size=batch_size, tta=tta)
        self.table = PredictionTable(_FLAT, self.predictor.scorer)
        self.sources: dict[str, ImageSource] = {}

    def __call__(self, batch: dict[str, np.ndarray]) -> Any:
        files = zip(batch["name"], batch["root"], batch["path"], strict=True)
        inputs = [Input(str(name), self._source(str(root)), str(path)) for name, root, path in files]
        cells = [self.table.cells(row) for row in self.predictor.rows(inputs)]
        columns = {column: [_plain(row.get(column)) for row in cells] for column in self.table.columns}
        return pl.DataFrame(columns, schema=self.table.columns).to_arrow()  # types that no batch without values changes

    def _source(self, root: str) -> ImageSource:
        return self.sources.setdefault(root, ImageSource(Path(root)))


def _plain(value: Any) -> Any:
    return "|".join(value) if isinstance(value, tuple) else value
