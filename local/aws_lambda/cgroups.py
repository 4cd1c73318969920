"""The cgroups of an environment: its memory limit, and its share of the CPU.

Linux, "Control Group v2" (cgroup-v2.rst), and "CFS Bandwidth Control" and "Memory Resource
Controller" for v1. With v1 each controller has a tree of its own, with v2 all have one.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from local.aws_lambda.reaper import remove_cgroup

Controller = Literal["cpu", "memory"]

CPU_PERIOD_US = 20_000
MB_PER_VCPU = 1769

_ROOT = Path("/sys/fs/cgroup")
_JOIN = (
    'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" && shift || exit; done; shift; exec "$@"'
)
# Missing where the kernel does not count swap, or is older than 4.19.
_WHERE_THERE = {"memory.memsw.limit_in_bytes", "memory.swap.max", "memory.oom.group"}


@dataclass(frozen=True)
class Cgroups:
    """The groups of one environment by controller, the same for both with v2; None: none."""

    cpu: Path | None = None
    memory: Path | None = None

    @classmethod
    def create(
        cls,
        name: str,
        memory_mb: int,
        controllers: Sequence[Controller] = ("cpu", "memory"),
        root: Path = _ROOT,
        own_groups: str | None = None,
    ) -> "Cgroups":
        """Create what this machine allows, with the limits of a memory size, below our own groups.

        `own_groups` has the form of /proc/self/cgroup, which it is unless given.
        """
        made: dict[Controller, Path] = {}
        own = _own_groups() if own_groups is None else own_groups
        for parent, found in _parents(root, own, controllers).items():
            if _make(parent / name, found, memory_mb):
                made |= dict.fromkeys(found, parent / name)
        return cls(**made)

    @property
    def directories(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for path in (self.cpu, self.memory) if path is not None))

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words to put before a command so that it runs inside the groups."""
        if not self.directories:
            return ()
        return ("/bin/sh", "-c", _JOIN, "sh", *map(str, self.directories), "--")

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended a process of the group because the group was out of memory.

        It counts first and kills then: once such a process is gone, it has been counted.
        """
        return self.memory is not None and (
            _counted(self.memory / "memory.events", "oom_kill")  # v2
            or _counted(self.memory / "memory.oom_control", "oom_kill")
        )

    def remove(self) -> None:
        """Remove the groups, and whatever still runs in them; that may take a moment."""
        for directory in self.directories:
            remove_cgroup(str(directory))


def _own_groups() -> str:
    with suppress(OSError):
        return Path("/proc/self/cgroup").read_text()
    return ""


def _make(directory: Path, controllers: Iterable[Controller], memory_mb: int) -> bool:
    try:
        directory.mkdir()
    except OSError:
        return False
    try:
        for controller in controllers:
            _limit(directory, controller, memory_mb)
    except OSError:
        directory.rmdir()
        return False
    return True


def _limit(directory: Path, controller: Controller, memory_mb: int) -> None:
    v2 = (directory.parent / "cgroup.subtree_control").exists()
    limits = _cpu_limits(v2, memory_mb) if controller == "cpu" else _memory_limits(v2, memory_mb)
    for name, value in limits.items():
        with suppress(*[OSError] if name in _WHERE_THERE else []):
            (directory / name).write_text(value)


def _cpu_limits(v2: bool, memory_mb: int) -> dict[str, str]:
    quota = CPU_PERIOD_US * memory_mb // MB_PER_VCPU
    if v2:
        return {"cpu.max": f"{quota} {CPU_PERIOD_US}"}
    return {"cpu.cfs_period_us": str(CPU_PERIOD_US), "cpu.cfs_quota_us": str(quota)}


def _memory_limits(v2: bool, memory_mb: int) -> dict[str, str]:
    limit = str(memory_mb * 1024 * 1024)
    if v2:
        return {"memory.max": limit, "memory.swap.max": "0", "memory.oom.group": "1"}
    # In this order: memory alone may not have more than memory and swap together.
    return {"memory.limit_in_bytes": limit, "memory.memsw.limit_in_bytes": limit}


def _parents(
    root: Path, own_groups: str, wanted: Sequence[Controller]
) -> dict[Path, list[Controller]]:
    """Where to create groups, and with which controllers, by the lines of /proc/self/cgroup."""
    parents: dict[Path, list[Controller]] = {}
    for line in own_groups.splitlines():
        _, listed, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        places = _v1(root, group, listed, wanted) if listed else _v2(root, group, wanted)
        for parent, controllers in places:
            parents.setdefault(parent, []).extend(controllers)
    return parents


def _v1(
    root: Path, group: Path, listed: str, wanted: Sequence[Controller]
) -> Iterator[tuple[Path, list[Controller]]]:
    for controller in wanted:
        if controller not in listed.split(","):
            continue
        # Nobody asked for memory groups. What put us in one (a service manager, a container's
        # engine) counts, ends and removes what is in it, and hasn't allowed to divide it.
        # Inside a container with a tree of its own, ours is the topmost.
        if controller == "memory" and group.parts:
            continue
        places = (root / mount / group for mount in (listed, controller))
        yield from [(place, [controller]) for place in places if _writable(place)][:1]


def _v2(
    root: Path, group: Path, wanted: Sequence[Controller]
) -> Iterator[tuple[Path, list[Controller]]]:
    """The nearest group above us that passes most of the controllers on.

    A group that holds processes can't.
    """
    places = [
        (root / above, [each for each in wanted if each in _passed_on(root / above)])
        for above in (group, *group.parents)
        if _writable(root / above)
    ]
    if places:
        place, controllers = max(places, key=lambda each: len(each[1]))
        if controllers:
            yield place, controllers


def _writable(group: Path) -> bool:
    """Whether one may make groups in it, and with v2 move a process from one of them to another."""
    return os.access(group, os.W_OK) and os.access(group / "cgroup.procs", os.W_OK)


def _passed_on(group: Path) -> list[str]:
    try:
        return (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []


def _counted(file: Path, event: str) -> bool:
    """Whether a file with a name and a number a line has more than 0 for this name."""
    with suppress(OSError):
        counts = dict(line.split(" ", 1) for line in file.read_text().splitlines())
        return int(counts.get(event, 0)) > 0
    return False
