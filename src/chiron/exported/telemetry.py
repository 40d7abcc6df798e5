"""Loads other makers' runtimes without their telemetry.

As they come, OpenVINO and NNCF (`openvino_telemetry`) and ONNX Runtime tell servers of Intel and Microsoft when they
are imported, and keep an id of the machine in the home folder. What runs on a hospital's machine must do neither.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OF_INTEL, _OF_MICROSOFT = "openvino_telemetry", "ORT_DISABLE_TELEMETRY"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Inside, the packages can be imported for the first time and stay silent for as long as the process lives.

    OpenVINO and NNCF find no telemetry package and take the stand-ins that they have for that case; ONNX Runtime reads
    the variable that its maker names for this. What another program has imported before stays as it is.
    """
    is_loaded, asked = _OF_INTEL in sys.modules, os.environ.get(_OF_MICROSOFT)
    if not is_loaded:
        sys.modules[_OF_INTEL] = None  # type: ignore[assignment]  # an import then raises ImportError
    os.environ[_OF_MICROSOFT] = "1"
    try:
        yield
    finally:
        if not is_loaded:
            del sys.modules[_OF_INTEL]
        if asked is None:
            del os.environ[_OF_MICROSOFT]
        else:
            os.environ[_OF_MICROSOFT] = asked
