"""How much memory an environment's processes hold.

The limit is kept by looking, several times a second, and not by a memory cgroup: that works
without privileges and on macOS too, and leaves the memory groups of whatever started us alone. The
price: a process can pass its limit for some hundredths of a second. RLIMIT_AS would count address
space, of which Python and its libraries reserve far more than they use.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

SAMPLE_INTERVAL_S = 0.025

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "statm").exists()
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants now; 0 once it is gone."""
    if not _HAS_PROC:
        return _resident_by_ps(pid)
    with suppress(OSError, ValueError, IndexError):
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
        return pages * _PAGE + sum(resident_bytes(child) for child in _children(pid))
    return 0


def peak_bytes(pid: int) -> int:
    """The most that the process itself has ever held, where the kernel tells; else 0."""
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _children(pid: int) -> list[int]:
    tasks = (_PROC / str(pid) / "task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _resident_by_ps(pid: int) -> int:
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return int(output.strip() or 0) * 1024
