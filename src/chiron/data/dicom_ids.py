"""Patients and studies of DICOM images, taken from the files themselves; every reader's rows get them alike.

A DICOM set is private by default: sample ids are keyed hashes, so that no table that is written from them holds a name
or a number of a file. `path` still says where an image lies.
"""

import os
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache

import polars as pl

from chiron.core.errors import DataError, PreprocessError
from chiron.data.dicom_header import TECHNICAL_COLUMNS, DicomHeader, read_dicom_header
from chiron.data.image_names import may_be_dicom
from chiron.data.manifest_columns import Certainty, ColumnRole
from chiron.data.readers._base import Reading
from chiron.data.source import ImageSource
from chiron.preprocess.canonical import is_dicom

_START_BYTES = 64 << 10  # more than most headers have
_ID_COLUMNS = ("patient_id", "study_id", "series_id")


def with_dicom_ids(reading: Reading, source: ImageSource, key: Callable[[], bytes] | None) -> Reading:
    """`reading` with patient_id and study_id (certain) from the headers of its DICOM images, and how they were taken.

    Patients that a table names stay; those of the files then stand in `dicom_patient_id` and join groups as well.

    Args:
        key: gives the key of the hashes; without it ids join images within this process and are other ones in the next.
    """
    paths = [] if source.is_npz else [path for path in reading.frame["path"] if may_be_dicom(path)]
    if not paths:
        return reading
    by_path = _headers(paths, source, key or _key_of_this_process)
    headers = [by_path.get(path) for path in reading.frame["path"]]
    found = [header for header in headers if header is not None]
    if not found:
        return reading
    frame = reading.frame.with_columns(
        pl.Series("sample_id", _sample_ids(reading.frame["sample_id"].to_list(), headers), pl.String)
    )
    named = {"patient_id", "study_id", "series_id"} & {
        name for name in frame.columns if frame[name].null_count() < frame.height
    }
    roles: dict[str, ColumnRole] = dict(reading.roles)
    certainty: dict[str, Certainty] = dict(reading.id_certainty)
    for column in (*_ID_COLUMNS, *TECHNICAL_COLUMNS):
        values = [_said(header, column) for header in headers]
        if not any(values):
            continue
        taken = column in named or (column in TECHNICAL_COLUMNS and column in frame.columns)
        name = f"dicom_{column}" if taken else column
        frame = frame.with_columns(pl.Series(name, values, pl.String))
        roles[name] = "technical" if column in TECHNICAL_COLUMNS else "identifier"
        if column in ("patient_id", "study_id"):
            certainty[name] = "certain"
    counts = {column: len({_said(header, column) for header in found} - {None}) for column in _ID_COLUMNS[:2]}
    return replace(
        reading,
        frame=frame,
        roles=roles,
        id_certainty=certainty,
        grouping=_grouping(reading, counts),
        notes=(*reading.notes, *_notes(found, counts)),
    )


@cache
def _key_of_this_process() -> bytes:
    return secrets.token_bytes(32)


def _headers(paths: Sequence[str], source: ImageSource, key: Callable[[], bytes]) -> dict[str, DicomHeader]:
    """The headers of those files that are whole DICOM files; `identify` says what is wrong with the others."""
    key = cache(key)  # asked for where there is a DICOM file, and once

    def look(path: str) -> DicomHeader | None:
        with suppress(DataError, PreprocessError), source.open(path) as stream:
            start = stream.read(_START_BYTES)  # the disk is waited for here: of reading headers, threads take turns
            stream.seek(0)
            return read_dicom_header(stream, path, key()) if is_dicom(start, path) else None
        return None

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        found = list(pool.map(look, paths))
    return {path: header for path, header in zip(paths, found, strict=True) if header is not None}


def _sample_ids(given: Sequence[str], headers: Sequence[DicomHeader | None]) -> list[str]:
    """Hashes in place of the names of DICOM images; a copy of a file gets a number behind."""
    seen: Counter[str] = Counter()
    names = []
    for name, header in zip(given, headers, strict=True):
        if header is None:
            names.append(name)
            continue
        seen[header.image_id] += 1
        copy = seen[header.image_id]
        names.append(header.image_id if copy == 1 else f"{header.image_id}-{copy}")
    return names


def _said(header: DicomHeader | None, column: str) -> str | None:
    if header is None:
        return None
    return header.technical[column] if column in TECHNICAL_COLUMNS else getattr(header, column)


def _grouping(reading: Reading, counts: dict[str, int]) -> str:
    kinds = [kind for kind, column in (("patient", "patient_id"), ("study", "study_id")) if counts[column]]
    if not kinds:
        return reading.grouping
    by = " and ".join(kinds)
    if reading.id_certainty:
        return f"{reading.grouping.rstrip('.')}; also by {by} of the DICOM headers."
    return f"Grouped by {by} of the DICOM headers."


def _notes(found: Sequence[DicomHeader], counts: dict[str, int]) -> list[str]:
    without = sum(header.patient_id is None for header in found)
    notes = [
        f"DICOM images: {len(found):,}; patients {counts['patient_id']:,}, studies {counts['study_id']:,}"
        + (f"; {without:,} images without a patient." if without else ".")
    ]
    if burned := sum(header.burned_in for header in found):
        notes.append(f"Burned-in annotation: {burned:,} images say that text is drawn into the picture.")
    return notes
