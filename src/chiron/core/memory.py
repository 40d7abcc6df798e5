"""How much memory this process may still take, and how much it has taken at most; standard library alone."""

import os
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# Of version 2 and version 1: the limit, what is used, and what of it the system gives back when it is needed.
_CGROUP_FILES = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Bytes that can be taken before the system, or the limit of a container or job, is reached; None if unknown.

    Args:
        proc: where the system tells of itself.
        cgroups: where it tells of limits.
    """
    known = [_free_of_system(proc), *_free_of_groups(proc, cgroups)]
    return min((value for value in known if value is not None), default=None)


def _free_of_system(proc: Path) -> int | None:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return _half_of_all()
    values = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines) if rest}
    return values.get("MemAvailable")


def _half_of_all() -> int | None:
    """Where the system does not say what is free, half of what there is."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _free_of_groups(proc: Path, cgroups: Path) -> list[int]:
    """What each limit on this process, its group's and those above it, leaves."""
    try:
        own = [line.split(":", 2)[2].strip("/") for line in (proc / "self" / "cgroup").read_text().splitlines()]
    except (OSError, IndexError):
        return []
    left = []
    for folder, limit, used, cached in _CGROUP_FILES:
        places = {Path(*Path(path).parts[:depth]) for path in own for depth in range(len(Path(path).parts) + 1)}
        for place in places:
            group = cgroups / folder / place
            try:
                most, taken = int((group / limit).read_text()), int((group / used).read_text())
                stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # no such group, or no limit: "max"
                continue
            left.append(max(0, most - taken + int(stat.get(cached, 0))))
    return left


def peak_memory() -> int | None:
    """Bytes of memory that this process has had at most since its start; None where the system does not say."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
