"""torch: a `.pt2` program for other programs that have torch. It can hold code, so that `chiron.load` refuses it."""

from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from chiron.core.files import move_into_place
from chiron.exporting.agreement import Run
from chiron.exporting.graph import OUTPUTS
from chiron.exporting.trace import Traced
from chiron.scorer import StoredImages
from chiron.spec.export_spec import ExportSpec, Precision

PRECISIONS = ("fp32",)
NAME = "model.pt2"


def convert(traced: Traced, precision: Precision) -> ExportedProgram:
    """The program itself."""
    return traced.program


def write(program: ExportedProgram, spec: ExportSpec, path: Path) -> None:
    """The file; what it says of itself is its extra file `bundle.json`."""
    temporary = path.with_name(f".{path.stem}.tmp.pt2")  # torch demands the suffix
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, temporary, extra_files={"bundle.json": spec.model_dump_json(indent=2)})
    move_into_place(temporary, path)


def opened(path: Path) -> Run:
    """The graph of a written file."""
    graph = torch.export.load(path).module()

    def run(stored: StoredImages) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            found = graph(torch.from_numpy(stored))
        return {name: value.numpy() for name, value in zip(OUTPUTS, found, strict=False)}

    return run
