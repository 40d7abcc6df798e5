"""The probes: what each of them may look at. Technical ones must not tell the label; trivial signals may."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float

from chiron.audit.facts import ImageFacts
from chiron.audit.probe_features import as_numbers, binned, one_hot, standardized, texts
from chiron.data.manifest_columns import ColumnRole

Kind = Literal["technical", "trivial", "reference_standard"]
_PROBED_ROLES: tuple[ColumnRole, ...] = ("technical", "site", "date")


@dataclass(frozen=True, eq=False)
class Probe:
    """One thing that may tell the label without showing it.

    Args:
        key: short name, the same in every audit.
        title: as it stands in a sentence after "From the".
        kind: success of a technical probe is an alarm; a trivial signal is a floor that a network has to beat.
        features: what its model sees; no column where the data set shows no difference.
        values: for a discrete property its value in every row.
        is_discrete: whether these values are all that its model sees.
    """

    key: str
    title: str
    kind: Kind
    features: Float[np.ndarray, "n _columns"]
    values: tuple[str, ...] | None = None
    is_discrete: bool = False


def technical_probes(frame: pl.DataFrame, facts: ImageFacts, roles: Mapping[str, ColumnRole]) -> list[Probe]:
    """Everything about file, frame and acquisition that a network could learn instead of the disease.

    Args:
        frame: rows of a manifest.
        facts: of the same rows.
        roles: of the metadata columns; those that are technical, site or date are probed.
    """
    measured = facts.frame
    width, height = _floats(measured["width"]), _floats(measured["height"])
    sizes = tuple(f"{w} x {h}" for w, h in measured.select("width", "height").iter_rows())
    encoding = [_floats(measured[name]) for name in ("bit_depth", "jpeg_quality")]
    probes = [
        _numbers("file_size", "file size", _floats(measured["file_bytes"])),
        Probe(
            "image_size", "image size", "technical", np.hstack([binned(width), binned(height), one_hot(sizes)]), sizes
        ),
        _categories("color_mode", "color mode", texts(measured["color_mode"])),
        _numbers("aspect", "aspect ratio", width / height),
        Probe(
            "encoding",
            "encoding (file format, bit depth, JPEG quality)",
            "technical",
            np.hstack([one_hot(texts(measured["file_format"])), *[binned(values) for values in encoding]]),
        ),
        Probe("border", "image border", "technical", _measurements(facts.border)),
        Probe("corners", "image corners", "technical", _measurements(facts.corners)),
        *_order_probes(frame),
    ]
    for name, role in roles.items():
        if role in _PROBED_ROLES:
            title = f"column {name} ({role})"
            numbers = as_numbers(frame[name])
            key = f"column:{name}"
            probes.append(
                _categories(key, title, texts(frame[name])) if numbers is None else _numbers(key, title, numbers)
            )
    return probes


def trivial_probes(frame: pl.DataFrame, facts: ImageFacts, roles: Mapping[str, ColumnRole]) -> list[Probe]:
    """Signals that belong to the patient or the picture but need no network: the floor that one has to beat."""
    probes = [
        Probe("thumbnail", "8 x 8 thumbnail", "trivial", standardized(facts.thumbnail.astype(np.float64))),
        Probe("histogram", "color histogram", "trivial", standardized(np.sqrt(facts.histogram.astype(np.float64)))),
    ]
    names = [name for name, role in roles.items() if role == "predictor"]
    if names:
        blocks = [_column(frame[name]) for name in names]
        probes.append(Probe("metadata", f"metadata ({', '.join(names)})", "trivial", np.hstack(blocks)))
    return probes


def reference_probes(frame: pl.DataFrame, roles: Mapping[str, ColumnRole]) -> list[Probe]:
    """Columns that say how the label was made."""
    return [
        Probe(
            f"column:{name}",
            f"column {name}",
            "reference_standard",
            one_hot(values := texts(frame[name])),
            tuple(values),
            is_discrete=True,
        )
        for name, role in roles.items()
        if role == "reference_standard"
    ]


def name_positions(names: Sequence[str]) -> Float[np.ndarray, "_n"]:
    """Where a name stands among the names of its kind, 0 to 1 by the numbers in it; NaN where it is the only one.

    Names are of one kind when they differ in digits alone. Words in a name do not count, so that `benign_07` and
    `malignant_07` stand at the same place: a class that is written in the name, or in a folder, is no order.

    Example:
        >>> name_positions(["a-1", "a-10", "a-9", "b-1", "b-2"]).tolist()
        [0.0, 1.0, 0.5, 0.0, 1.0]
    """
    kinds: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        kinds.setdefault(re.sub(r"\d+", "#", name), []).append(row)
    positions = np.full(len(names), np.nan)
    for rows in kinds.values():
        numbers = [tuple(int(number) for number in re.findall(r"\d+", names[row])) for row in rows]
        place = {value: index for index, value in enumerate(sorted(set(numbers)))}
        if len(place) > 1:
            positions[rows] = [place[value] / (len(place) - 1) for value in numbers]
    return positions


def _order_probes(frame: pl.DataFrame) -> list[Probe]:
    """The order of the file names and, where it is another one, of the sample ids."""
    by_file = name_positions([PurePosixPath(path).stem for path in frame["path"]])
    by_id = name_positions(frame["sample_id"].to_list())
    probes = [_numbers("file_order", "order of the file names", by_file)]
    if not np.array_equal(by_file, by_id, equal_nan=True):
        probes.append(_numbers("sample_number", "number in the sample id", by_id))
    return probes


def _column(column: pl.Series) -> Float[np.ndarray, "_n _columns"]:
    numbers = as_numbers(column)
    return one_hot(texts(column)) if numbers is None else binned(numbers)


def _numbers(key: str, title: str, values: np.ndarray) -> Probe:
    return Probe(key, title, "technical", binned(values))


def _categories(key: str, title: str, values: Sequence[str]) -> Probe:
    return Probe(key, title, "technical", one_hot(values), tuple(values), is_discrete=True)


def _measurements(block: np.ndarray) -> Float[np.ndarray, "_n _columns"]:
    """Measurements of one place as they are: a line finds marks in fewer images than bins of each number do."""
    return np.hstack([standardized(column[:, None]) for column in block.T.astype(np.float64)])


def _floats(column: pl.Series) -> Float[np.ndarray, "_n"]:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
