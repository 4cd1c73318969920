"""What Linux knows of a process: its session, its CPU, its memory."""

import time
from contextlib import suppress
from pathlib import Path


def session(leader: int) -> list[int]:
    """The processes of a session. Source: proc(5), stat, field 6."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[3] == str(leader):
                pids.append(int(stat.parent.name))
    return pids


def running(ancestor: int, module: str) -> list[int]:
    """The descendants of a process that run `python -m module`."""
    found = []
    for children in Path(f"/proc/{ancestor}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if f"-m\0{module}\0".encode() in command:
                found.append(pid)
            found += running(pid, module)
    return found


def cpu_of(pid: int) -> float:
    # clock_getcpuclockid(3), which Python doesn't offer: the clock of a process, to the nanosecond.
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def peak_of(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def pss_of(pid: int) -> float:
    """Proportional set size, in kB of 1024 bytes."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    return 0.0
