"""Makes the modules of `benchmarks/validity`, which are no package, importable for tests."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "benchmarks" / "validity"


def script(name: str) -> ModuleType:
    """A script by its file name; by path, as some share their name with an installed package."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))  # at the end: what is installed goes first
    spec = spec_from_file_location(f"validity_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
