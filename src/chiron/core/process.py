"""What a Chiron program sets for its own process at its start, never on import."""

import ctypes
import os
import sys

from chiron.core.job import job_size

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc malloc.h


def prepare_process() -> None:
    """Makes CPU work fast; call it before torch is loaded. What the user set in the environment stays.

    glibc gives large buffers back to the system after each use and takes a page fault for every page of the next one:
    half of the time of a convolutional network. OpenMP threads that spin while they wait slow down a shared machine.
    Both are set in the environment too, for worker processes. In a job of several processes torch's own C++ warnings
    are left out: each would say them, of what no user can change.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if job_size() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what Apple's GPU cannot do, the processor does
    if not sys.platform.startswith("linux"):
        return
    if "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_MAX_" in os.environ:
        return
    os.environ["MALLOC_TRIM_THRESHOLD_"], os.environ["MALLOC_MMAP_MAX_"] = str(2**31 - 1), "0"
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):  # other C libraries give memory back in another way
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
