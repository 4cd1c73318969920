"""How much memory an environment's processes hold, and that it is no more than they may.

Where a memory cgroup is available, the kernel enforces the limit. Elsewhere memory is sampled
several times a second, which works without privileges and on macOS too. The price: a process can
exceed its limit for some hundredths of a second, or between two samples. RLIMIT_AS
would count address space, of which Python and its libraries reserve far more than they use.

Max Memory Used is sampled either way: a cgroup's own peak contains the page cache, with the
package's files for the environment that read them first.
"""

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from local.aws_lambda.cgroups import Cgroups

_INTERVAL_S = 0.025
_MB = 1024 * 1024

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "statm").exists()
_PAGE = os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """Watches the memory of a process and its descendants, while `active` is set and `run` runs.

    pid       the process
    limit_mb  what all of them may hold together
    cgroups   where the kernel keeps that limit, if it does
    kill      ends them all: the kernel may end one of several, where Lambda ends the environment
    """

    def __init__(self, pid: int, limit_mb: int, cgroups: Cgroups, kill: Callable[[], None]) -> None:
        self.active = asyncio.Event()
        self._pid = pid
        self._limit_mb = limit_mb
        self._cgroups = cgroups
        self._kill = kill
        self._peak = 0
        self._exceeded = False

    async def run(self) -> None:
        """End the processes when they hold more than they may; returns when they have to."""
        while await self.active.wait():
            if self._check():
                self._kill()
                return
            await asyncio.sleep(_INTERVAL_S)

    @property
    def exceeded(self) -> bool:
        """Whether the processes ran out of memory; to be read before their groups are removed."""
        self._exceeded = self._exceeded or self._cgroups.ran_out_of_memory
        return self._exceeded

    @property
    def max_mb(self) -> int:
        """The most that was held, by what was seen of it and at most the limit."""
        self._peak = max(self._peak, _peak_bytes(self._pid))
        return self._limit_mb if self._exceeded else min(-(-self._peak // _MB), self._limit_mb)

    def _check(self) -> bool:
        held = resident_bytes(self._pid)
        self._peak = max(self._peak, held, _peak_bytes(self._pid))
        if self._cgroups.memory is None:
            self._exceeded = held > self._limit_mb * _MB
        return self.exceeded


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants now; 0 once it is gone."""
    if not _HAS_PROC:
        return _resident_by_ps(pid)
    with suppress(OSError, ValueError, IndexError):
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
        return pages * _PAGE + sum(resident_bytes(child) for child in _children(pid))
    return 0


def _peak_bytes(pid: int) -> int:
    """The most that the process itself has ever held, if the kernel reports it; else 0."""
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
