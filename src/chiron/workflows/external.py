"""External testing: labels of other data become the bundle's, and images that training has seen are found."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from chiron.audit.overlap import Overlap, find_overlap, require_no_overlap
from chiron.bundle import read_known_images
from chiron.core.errors import DataError, SpecError, reason_of
from chiron.core.suggest import did_you_mean
from chiron.data.manifest import Manifest
from chiron.data.manifest_columns import FITTED_SPLITS, LABEL_PREFIX, ColumnRole
from chiron.data.source import ImageSource
from chiron.spec.decision import Tta, Unit
from chiron.spec.layout import Layout
from chiron.spec.strict_yaml import parse_yaml
from chiron.workflows.run_folder import is_run

log = logging.getLogger("chiron.external")
WhenSeen = Literal["stop", "leave-out", "accept"]
LABEL_OF_DATA = "label_of_data"  # how the other data call the class
_EXCLUDED = "excluded"


@dataclass(frozen=True)
class External:
    """How other data are to be read, mapped and compared, by which further columns divided, and what is counted."""

    layout: Layout
    labels_map: Mapping[str, str | None] | None
    when_seen: WhenSeen
    subgroups: tuple[str, ...]
    unit: Unit | None = None  # by default the bundle's
    recalibrate_on: str | None = None  # split that the decision is fitted on again
    tta: Tta = "none"


def read_labels_map(path: str | Path) -> dict[str, str | None]:
    """label of other data -> class of the bundle, or None where the bundle has no such class.

    Raises:
        SpecError: the file cannot be read or is no such mapping.
    """
    path = Path(path)
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"A map of labels must be a readable YAML file. Got {reason_of(error)} at {path}. Give its path."
        ) from error
    values = {str(label): name for label, name in document.values.items()}
    for label, name in values.items():
        if name is not None and not isinstance(name, str):
            raise SpecError(
                f"{path.name}: a label must be given a class of the bundle, or null. Got {name!r} for {label}. "
                "Put the name in quotes."
            )
    return values


def map_labels(manifest: Manifest, labels_map: Mapping[str, str | None], names: Sequence[str]) -> Manifest:
    """The data with the bundle's classes; images of labels that are mapped to null stay in the table as `excluded`.

    Labels that the map does not name must be the bundle's but for case. Every label that was mapped is told, with the
    number of its images.

    Args:
        names: classes of the bundle.
    Raises:
        DataError: a label that neither the map nor the bundle knows, a class that the bundle does not have, or two
            findings of several labels an image that become one.
    """
    by_case = {name.casefold(): name for name in names}
    if strangers := sorted({name for name in labels_map.values() if name is not None and name not in names}):
        raise DataError(
            f"A map of labels must lead to classes of the bundle ({', '.join(names)}). Got {strangers[0]!r}. "
            f"{did_you_mean(strangers[0], names)}".rstrip()
        )
    goes_to = {label: labels_map.get(label, by_case.get(label.casefold())) for label in manifest.classes}
    counts = _images_of(manifest)
    unknown = [label for label in manifest.classes if goes_to[label] is None and label not in labels_map]
    if unknown:
        listed = ", ".join(f"{label} ({counts[label]:,} images)" for label in unknown)
        raise DataError(
            f"Every label of the data must be a class of the bundle ({', '.join(names)}) or stand in the map. Got "
            f"{listed}. Add `{unknown[0]}: <class>` or `{unknown[0]}: null` to the file of --labels-map."
        )
    told = [
        f"Label {label}: {counts[label]:,} images, {f'read as {name}' if name else 'no class of the bundle, left out'}."
        for label, name in goes_to.items()
        if label in labels_map
    ]
    manifest = replace(manifest, notes=(*manifest.notes, *told))
    return _mapped_several(manifest, goes_to) if manifest.is_multi_label else _mapped(manifest, goes_to)


def _images_of(manifest: Manifest) -> Counter[str]:
    if manifest.is_multi_label:
        return Counter({name: int((manifest.frame[LABEL_PREFIX + name] == 1).sum()) for name in manifest.classes})
    return Counter(manifest.frame["label"].drop_nulls().to_list())


def _mapped(manifest: Manifest, goes_to: Mapping[str, str | None]) -> Manifest:
    left_out = [label for label, name in goes_to.items() if name is None]
    out = (pl.col("label").is_in(left_out) & (pl.col("status") == "ok")).fill_null(False)
    frame = manifest.frame.with_columns(
        pl.col("label").alias(LABEL_OF_DATA),
        pl.when(out).then(pl.lit(_EXCLUDED)).otherwise(pl.col("status")).alias("status"),
        pl.when(out)
        .then(pl.lit("label is no class of the bundle: ") + pl.col("label"))
        .otherwise(pl.col("status_reason"))
        .alias("status_reason"),
    ).with_columns(pl.col("label").replace_strict(dict(goes_to), return_dtype=pl.String, default=None))
    classes = tuple(dict.fromkeys(name for name in goes_to.values() if name is not None))
    if not classes:
        raise DataError(
            f"Some label must map to a class of the bundle. Got null for all ({', '.join(goes_to)}). Mend the map."
        )
    # Whoever knows the other label knows the class; its numbers are those of a stratum.
    roles: dict[str, ColumnRole] = {**manifest.roles, LABEL_OF_DATA: "reference_standard"}
    return replace(manifest, frame=frame, classes=classes, roles=roles)


def _mapped_several(manifest: Manifest, goes_to: Mapping[str, str | None]) -> Manifest:
    kept = {label: name for label, name in goes_to.items() if name is not None}
    if repeated := [name for name, count in Counter(kept.values()).items() if count > 1]:
        raise DataError(
            f"Of several labels an image, one label must become one class. Got several for {repeated[0]!r}. "
            "Map the others to null."
        )
    return manifest.with_class_names(list(kept)).rename_classes(kept)


def overlap_of(target: Path, part: Manifest) -> Overlap:
    """Which images the bundle's training has seen: by its images where they are at hand, else by the kept hashes."""
    training = _training_images(target)
    return find_overlap(part, read_known_images(target), training)


def _training_images(target: Path) -> Manifest | None:
    """The images of the run that a bundle lies in, as long as they are still where they were."""
    run = next((folder for folder in (target, target.absolute().parent) if is_run(folder)), None)
    if run is None:
        return None
    manifest = Manifest.load(run)
    fitted = manifest.frame.filter(pl.col("status") == "ok", pl.col("split").is_in(FITTED_SPLITS))
    try:
        there = set(ImageSource(manifest.root).names())
    except DataError:
        there = set()
    if not set(fitted["path"]) <= there:
        log.warning("the training images are no longer where they were; hashes are compared instead")
        return None
    return replace(manifest, frame=fitted, copies=())


def without_overlap(manifest: Manifest, overlap: Overlap, when_seen: WhenSeen) -> Manifest:
    """The data as they may be scored, with a note on what was found.

    Args:
        when_seen: stop, leave the images out (they stay in the table as `excluded`), or score them all the same.
    Raises:
        LeakError: images of the training are among them, and they are to stop it.
        SpecError: `when_seen` is none of the three.
    """
    if when_seen not in get_args(WhenSeen):
        raise SpecError(f"--overlap must be one of {', '.join(get_args(WhenSeen))}. Got {when_seen!r}.")
    if when_seen == "stop":
        require_no_overlap(overlap)
    log.info("%s", overlap.describe())
    manifest = replace(manifest, notes=(*manifest.notes, overlap.describe()))
    if when_seen != "leave-out" or not overlap.seen:
        return manifest
    seen = pl.col("sample_id").is_in(list(overlap.seen))
    frame = manifest.frame.with_columns(
        pl.when(seen).then(pl.lit(_EXCLUDED)).otherwise(pl.col("status")).alias("status"),
        pl.when(seen).then(pl.lit("seen in training")).otherwise(pl.col("status_reason")).alias("status_reason"),
    )
    told = f"Images that training has seen are left out: {len(overlap.seen):,}."
    return replace(manifest, frame=frame, notes=(*manifest.notes, told))
