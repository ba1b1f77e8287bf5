"""What is asked of the operating system: that it is one that Ouvroir runs on, locks between processes, usable cores.

Everything here imports anywhere; what the system lacks is said, in a sentence, when it is first needed.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from ouvroir.errors import UnsupportedSystem

_AGAIN_S = 0.005
_CGROUP = Path("/sys/fs/cgroup")


def require_system() -> None:
    """Raise UnsupportedSystem unless this is a system that Ouvroir runs on."""
    _locks()


def _locks() -> ModuleType:
    try:
        import fcntl
    except ImportError as error:
        raise UnsupportedSystem(
            "Ouvroir runs on Linux and macOS. On Windows, install it inside WSL: https://learn.microsoft.com/windows/wsl"
        ) from error
    return fcntl


def try_lock(file: IO[Any], *, shared: bool = False, patience_s: float = 0.0) -> bool:
    """Lock an open file until it is closed; False when another process has it. The kernel frees it on kill -9.

    `patience_s`: how long to try again, for a lock that others take for a moment to see whether it is free.
    """
    fcntl = _locks()
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_AGAIN_S)
        else:
            return True


def wait_for_lock(file: IO[Any]) -> None:
    """As `try_lock`, but wait until the file is free."""
    fcntl = _locks()
    fcntl.flock(file, fcntl.LOCK_EX)


def usable_cores() -> int:
    """Cores this process may use: fewer than the machine has under an affinity mask or a container's quota."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return n_cores if quota is None else max(1, min(n_cores, int(quota)))


def _quota() -> float | None:
    """Cores a container may use in all, as cgroups of version 2 or 1 say; None when they set no limit."""
    try:
        if (_CGROUP / "cpu.max").is_file():
            quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (_CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                for name in ("quota", "period")
            )
        return int(quota) / int(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError):
        return None


def memory_bytes() -> tuple[int | None, int | None]:
    """Total and available bytes of memory, within a container's limit where there is one; None for what is not known."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        values = {key: int(number) * 1024 for key, number in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
        total, free = values["MemTotal"], values["MemAvailable"]
    except (OSError, KeyError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
        except (ValueError, OSError):
            return None, None
    limit, used = _container_memory()
    return min(total, limit), min(free, max(0, limit - used))


def _container_memory() -> tuple[int, int]:
    """The limit of a container and what is used of it and cannot be given back, as cgroups of version 2 or 1 say."""
    for folder, names in (
        (_CGROUP, ("memory.max", "memory.current", "inactive_file")),
        (_CGROUP / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")),
    ):
        try:
            limit, used = (int((folder / name).read_text(encoding="ascii")) for name in names[:2])
            stat = (folder / "memory.stat").read_text(encoding="ascii")
            cached = re.search(rf"^{names[2]} (\d+)$", stat, re.MULTILINE)
        except (OSError, ValueError):  # "max", or not in such a container
            continue
        return limit, used - (int(cached[1]) if cached else 0)
    return sys.maxsize, 0


def held_bytes() -> int:
    """Memory that this process has of its own, without files that it maps; the most it ever had where that is not told."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.findall(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024
    except (OSError, IndexError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
