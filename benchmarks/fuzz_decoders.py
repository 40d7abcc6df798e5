"""Feeds damaged files to everything that reads foreign files: decoders of images, and readers of data sets.

    python benchmarks/fuzz_decoders.py SECONDS FOLDER_FOR_FINDINGS [--seed N]

Every input must end in an image, a data set or one clear error, within 10 seconds of one core, a minute, and 2 GiB.
Work is done in a process of its own, so that crashes, hangs and full memory are caught; the input of each finding is
kept in the folder.
"""

import argparse
import csv
import io
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicom_files import dicom_bytes, dicom_dataset, jpeg_lossless, with_frame

from chiron.core.errors import ChironError
from chiron.data.reading import read_dataset
from chiron.preprocess.decode import decode_image

CPU_SECONDS, SECONDS_EACH, MOST_BYTES, INPUTS_A_PROCESS = 10, 60, 2 << 30, 3000
EXTREMES = [
    b"\0",
    b"\xff",
    b"\x7f\xff",
    b"\xff\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\1\0\0",
]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """One file of Pillow's."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pictures() -> dict[str, bytes]:
    """A small file of every format."""
    draws = np.random.default_rng(0)
    color = cv2.resize(draws.integers(0, 256, (6, 7, 3), dtype=np.uint8), (44, 40))
    gray, deep = np.ascontiguousarray(color[..., 0]), color[..., 0].astype(np.uint16) * 16
    image = Image.fromarray(color)
    made = {
        "jpeg": encoded(image, "JPEG"),
        "jpeg-progressive": encoded(image, "JPEG", progressive=True),
        "jpeg-cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "png": encoded(image, "PNG"),
        "png-palette": encoded(image.quantize(16), "PNG"),
        "png-16": cv2.imencode(".png", color.astype(np.uint16) * 257)[1].tobytes(),
        "tiff-lzw": encoded(image, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": encoded(image, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-16": cv2.imencode(".tiff", color.astype(np.uint16) * 257)[1].tobytes(),
        "tiff-gray-16": encoded(Image.fromarray(deep), "TIFF"),
        "bmp": encoded(image, "BMP"),
        "webp": encoded(image, "WEBP"),
        "gif": encoded(image.quantize(16), "GIF"),
        "dicom-native": dicom_bytes(dicom_dataset(deep, bits_stored=12, WindowCenter=900, WindowWidth=700)),
        "dicom-color": dicom_bytes(dicom_dataset(color)),
    }
    for name, syntax in (("rle", RLELossless), ("j2k", JPEG2000Lossless), ("jls", JPEGLSLossless)):
        packed = dicom_dataset(deep, bits_stored=12)
        packed.compress(syntax)
        made[f"dicom-{name}"] = dicom_bytes(packed)
    deflated = dicom_dataset(deep, bits_stored=12)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made["dicom-deflated"] = dicom_bytes(deflated)
    frames = ((encoded(Image.fromarray(gray), "JPEG"), JPEGBaseline8Bit, gray, 8),)
    frames += ((jpeg_lossless(gray, 8), JPEGLosslessSV1, gray, 8), (jpeg_lossless(deep, 12), JPEGLosslessSV1, deep, 12))
    for place, (frame, syntax, pixels, bits) in enumerate(frames):
        made[f"dicom-jpeg-{place}"] = dicom_bytes(with_frame(dicom_dataset(pixels, bits_stored=bits), frame, syntax))
    return made


def data_sets() -> dict[str, bytes]:
    """A small file of every kind that a reader opens; csv tables are read beside two images."""
    png = encoded(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)), "PNG")
    other = encoded(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8).T.copy()), "PNG")
    packed, arrays, table, columnar = io.BytesIO(), io.BytesIO(), io.StringIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", png)
        archive.writestr("b/2.png", other)
    images, labels = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8), np.array([[0], [1], [0], [1]])
    np.savez_compressed(arrays, train_images=images, train_labels=labels, test_images=images + 1, test_labels=labels)
    csv.writer(table).writerows(
        [("image", "label", "patient_id", "split"), ("1.png", "a", "p", "train"), ("2.png", "b", "q", "")]
    )
    manifest = "sample_id,path,label,split\nx,1.png,a,train\ny,2.png,b,test\n"
    columns = {"image": ["1.png", "2.png"], "label": ["a", "b"], "age": [1, None]}
    pl.DataFrame(columns).write_parquet(columnar)
    findings = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Fracture\n"
    findings += "patient00001/study1/1.png,Male,50,Frontal,AP,1,,\npatient00002/study1/2.png,Male,50,Frontal,AP,,1,-1\n"
    return {
        "set.zip": packed.getvalue(),
        "set.npz": arrays.getvalue(),
        "labels.csv": table.getvalue().encode(),
        "manifest.csv": manifest.encode(),
        "labels.parquet": columnar.getvalue(),
        "train.csv": findings.encode(),
        "duplicates.csv": b"sample_id_1,sample_id_2,grade,score,view,verdict\nx,y,suspect,0.7,upright,same\n",
        "1.png": png,
        "2.png": other,
    }


def damaged(data: bytes, other: bytes, draws: random.Random) -> bytes:
    """One to four changes: bytes, extreme numbers, cuts, repeats, and parts of another file."""
    changed = bytearray(data)
    for _ in range(draws.randint(1, 4)):
        place, length = draws.randrange(len(changed) + 1), draws.randint(1, 16)
        near_start = draws.randrange(min(len(changed), 700) + 1)
        kind = draws.randrange(8)
        if kind == 0:
            changed[place : place + 1] = bytes([draws.randrange(256)])
        elif kind in (1, 2):  # headers are where most can go wrong
            new = draws.choice(EXTREMES)
            changed[near_start : near_start + len(new)] = new
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = draws.randbytes(length)
        elif kind == 5:
            changed[place:place] = changed[near_start : near_start + length]
        elif kind == 6 and draws.random() < 0.3:
            del changed[place:]
        elif kind == 7 and other:
            start = draws.randrange(len(other))
            changed[place : place + length] = other[start : start + length]
        else:
            changed[near_start : near_start + 1] = bytes([draws.randrange(256)])
    return bytes(changed)


def read_data_set(name: str, data: bytes) -> None:
    """A data set of one damaged file, and of whole ones beside it where it is a table."""
    with tempfile.TemporaryDirectory() as folder:
        if name.endswith((".csv", ".parquet")):
            for place in (".", "patient00001/study1", "patient00002/study1") if name == "train.csv" else (".",):
                Path(folder, place).mkdir(parents=True, exist_ok=True)
                for image in ("1.png", "2.png"):
                    Path(folder, place, image).write_bytes(DATA_SETS[image])
        Path(folder, name).write_bytes(data)
        if name == "duplicates.csv":
            name = "manifest.csv"
            Path(folder, name).write_bytes(DATA_SETS[name])
        read_dataset(Path(folder, name))


def try_one(name: str, data: bytes) -> str | None:
    """What is wrong with how `data` was taken, or None."""
    started = time.process_time()
    work: Callable[[str, bytes], object] = (
        read_data_set
        if name in DATA_SETS
        else lambda _, it: decode_image(it, "x.dcm" if name.startswith("dicom") else "x")
    )
    signal.alarm(SECONDS_EACH)
    try:
        work(name, data)
    except ChironError as error:
        if "MemoryError" in str(error) or "rror: " in str(error)[:40]:
            return f"error of another kind: {error}"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MOST_BYTES >> 10:
        return "more than 2 GiB of memory"
    spent = time.process_time() - started
    return f"{spent:.1f} seconds of one core" if spent > CPU_SECONDS else None


def work(seed: int, folder: Path, seconds: float) -> None:
    """The process that may die: the input that it is at lies in `folder / current`."""
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    draws, until = random.Random(seed), time.monotonic() + seconds
    seeds = PICTURES | {name: data for name, data in DATA_SETS.items() if not name.endswith(".png")}
    done = 0
    while done < INPUTS_A_PROCESS and time.monotonic() < until:
        done += 1
        name = draws.choice(list(seeds))
        data = damaged(seeds[name], draws.choice(list(seeds.values())), draws)
        (folder / "current").write_bytes(name.encode() + b"\n" + data)
        problem = try_one(name, data)
        if problem:
            keep(folder, name, data, problem)
    print(done)


def keep(folder: Path, name: str, data: bytes, problem: str) -> None:
    """Writes an input that was not taken well, and why."""
    place = folder / f"{len(list(folder.glob('*.bin'))):04}-{name}"
    place.with_name(place.name + ".bin").write_bytes(data)
    place.with_name(place.name + ".txt").write_text(problem)


def main() -> None:
    """Starts one process after another until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true")
    asked = parser.parse_args()
    if asked.child:
        return work(asked.seed, asked.folder, asked.seconds)
    asked.folder.mkdir(parents=True, exist_ok=True)
    until, seed, inputs = time.monotonic() + asked.seconds, asked.seed, 0
    while (left := until - time.monotonic()) > 0:
        command = [sys.executable, __file__, str(left), str(asked.folder), "--seed", str(seed), "--child"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if done.returncode:
            name, _, data = (asked.folder / "current").read_bytes().partition(b"\n")
            keep(asked.folder, name.decode(), data, f"the process ended with {done.returncode}")
        inputs += int(done.stdout or 0)
        seed += 1
    print(f"{inputs:,} inputs in {seed - asked.seed} processes, {len(list(asked.folder.glob('*.bin')))} findings")
    return None


PICTURES, DATA_SETS = pictures(), data_sets()

if __name__ == "__main__":
    main()
