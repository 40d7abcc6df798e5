"""Reads weight files of others as data: no code in them is executed.

`.safetensors` hold tensors alone. Files of torch are pickles, read by torch's restricted reader: tensors, plain values,
and of further types numbers of numpy and the options of a command line, which only hold values.
"""

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from chiron.core.errors import ModelError
from chiron.models.weights.fill import first_names

_RAW = ("state_dict", "model_state_dict", "model_state", "model")
_OBJECTS = re.compile(r"(?i)unsupported global|allowlisted|instantiat|unrecognized|malicious")  # as torch refuses them
_AVERAGED = ("ema_state", "ema_state_dict", "state_dict_ema", "model_ema", "ema")
_HOLDS_VALUES = [
    argparse.Namespace,
    np._core.multiarray.scalar,  # type: ignore[attr-defined]  # the one way in which numpy pickles a number
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # before numpy 2
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int32", "int64", "bool")),
]


@dataclass(frozen=True)
class Taken:
    """The tensors of a network, and where in the file they stood."""

    tensors: dict[str, Tensor]
    key: str | None  # None: the file is nothing else
    has_average: bool  # whether the file also holds an average of the weights


def read_weight_file(path: Path) -> Any:
    """The content of a weight file on the CPU.

    Raises:
        ModelError: there is no such file, it is damaged, or it holds more than data.
    """
    if not path.is_file():
        raise ModelError(f"A weights file must exist. Got {path}. Check the name.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _require_stored(path)
        with torch.serialization.safe_globals(_HOLDS_VALUES), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of old pickles and rare layouts, which are judged below
            return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, ModelError):
        raise
    except OSError as error:
        raise ModelError(f"A weights file must be readable. Got {error.strerror or error} at {path}.") from error
    except pickle.UnpicklingError as error:
        if not _OBJECTS.search(str(error)):
            raise _damaged(path, error) from error
        raise ModelError(
            f"A weights file must hold tensors and plain values alone. Got {path.name} with code or objects in it, of "
            "which nothing was executed. Save the state_dict() of the network and import that."
        ) from error
    except Exception as error:  # damaged bytes fail in many ways
        raise _damaged(path, error) from error


def _require_stored(path: Path) -> None:
    """torch stores tensors in a zip as they are; a packed or twice named part lets a small file fill the memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise ModelError(
            f"A weights file must hold its tensors uncompressed, as torch saves them. Got {path.name}, which unpacks "
            "to more than it is. Unpack it, or save the state_dict() again."
        )


def _damaged(path: Path, error: Exception) -> ModelError:
    said = re.split(r"\n|\. ", str(error).strip())[0].rstrip(".")[:160]
    # torch's words for bytes that are none of its own: an opcode, nothing, or advice to trust the file
    reason = said if " " in said and not said.startswith("Weights only") else "bytes that cannot be read"
    return ModelError(
        f"A weights file must be whole, and written by torch.save or safetensors. Got {path.name}: {reason}. "
        "Copy or download it again; a file of another kind must be saved as a state_dict() first."
    )


def take_tensors(content: Any, filename: str, *, averaged: bool = False) -> Taken:
    """The state dict in a file's content, without the prefixes of wrappers (`module.`, `_orig_mod.`).

    Args:
        averaged: take the average of the weights that some trainings keep (EMA), not the weights of the last step.
    Raises:
        ModelError: there are no such tensors, or they are not plain finite ones.
    """
    if not isinstance(content, Mapping):
        raise ModelError(
            f"A weights file must hold tensors by name. Got {type(content).__name__} in {filename}. "
            "Save a state_dict()."
        )
    found_average = next((key for key in _AVERAGED if _tensors_below(content.get(key))), None)
    found_raw = next((key for key in _RAW if _tensors_below(content.get(key))), None)
    if averaged and found_average is None:
        raise ModelError(
            f"The average of the weights must be in the file. Got {filename} with {_told_keys(content)}. "
            "Leave --ema out."
        )
    key = found_average if averaged else found_raw
    tensors = _tensors_below(content if key is None else content[key])
    if not tensors:
        hint = " Add --ema." if found_average else " Save a state_dict()."
        raise ModelError(f"A weights file must hold tensors by name. Got {filename} with {_told_keys(content)}.{hint}")
    stripped = {_strip(name): tensor for name, tensor in tensors.items()}
    if len(stripped) != len(tensors):
        raise ModelError(
            f"Tensors must have different names. Got {filename}, where some differ only by module. or _orig_mod. "
            "Save the state_dict() of one network."
        )
    _require_plain(stripped, filename)
    return Taken(stripped, key, found_average is not None and not averaged)


def _tensors_below(value: Any) -> dict[str, Tensor]:
    """The named tensors of a mapping, or of the wrapper {ema, decay} around one."""
    if not isinstance(value, Mapping):
        return {}
    inner = next((value[key] for key in ("ema", "module", "state_dict") if isinstance(value.get(key), Mapping)), value)
    return {name: tensor.detach() for name, tensor in inner.items() if _is_named_tensor(name, tensor)}


def _is_named_tensor(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and name != "n_averaged"  # torch counts its averages


def _strip(name: str) -> str:
    """Prefixes that DataParallel and torch.compile put before a name, the latter also within one."""
    name = name.replace("_orig_mod.", "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _require_plain(tensors: dict[str, Tensor], filename: str) -> None:
    odd = [
        name
        for name, t in tensors.items()
        if t.layout is not torch.strided or t.is_quantized or t.is_complex() or t.is_meta
    ]
    if odd:
        raise ModelError(
            f"Tensors of a weights file must be plain real ones. Got {first_names(odd)} of another kind in {filename}. "
            "Save them with their values, dequantized and dense."
        )
    # values that stand once and are shown many times, `expand`, would be written out: a small file fills the memory
    repeated = [name for name, t in tensors.items() if t.numel() * t.element_size() > t.untyped_storage().nbytes()]
    if repeated:
        raise ModelError(
            f"Tensors of a weights file must hold all of their values. Got {first_names(repeated)} in {filename}, "
            "which repeats fewer. Save them after contiguous()."
        )
    broken = [name for name, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if broken:
        raise ModelError(
            f"Weights must be finite numbers. Got NaN or infinity in {first_names(broken)} of {filename}. "
            "Take another checkpoint."
        )


def _told_keys(content: Mapping[Any, Any]) -> str:
    return f"keys {first_names([str(key) for key in content])}" if content else "nothing in it"
