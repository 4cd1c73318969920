"""What can be fenced in about an environment: its package read-only, its share of the CPU.

The package is mounted read-only over itself in a mount namespace of the process's own (Linux, as
root or where user namespaces are allowed). The literal path /tmp is not fenced in: the package,
the interpreter or certificates may lie there; `TMPDIR`, which Python and most programs honour, is
a directory of the environment's own.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

CPU_PERIOD_US = 20_000
MB_PER_VCPU = 1769

_MOUNT_READ_ONLY = (
    'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" && shift && exec "$@"'
)
_DROP_CAPABILITIES = ("setpriv", "--ambient-caps", "-all", "--inh-caps", "-all", "--")
_AS_ROOT = ("unshare", "--mount", "--")
_AS_USER = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "--")
_JOIN_CGROUP = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'


def read_only_prefix(package: Path) -> tuple[str, ...] | None:
    """Words to put before a command so that it sees the package read-only; None: impossible."""
    shell = ("/bin/sh", "-c", _MOUNT_READ_ONLY, "sh", str(package))
    as_root, as_user = (*_AS_ROOT, *shell), (*_AS_USER, *shell, *_DROP_CAPABILITIES)
    for prefix in (as_root, as_user):
        if _runs([*prefix, "/bin/sh", "-c", ":"]):
            return prefix
    return None


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@dataclass(frozen=True)
class CpuShare:
    """A cgroup with a memory size's share of the CPU; one per environment."""

    directory: Path

    @classmethod
    def create(
        cls,
        name: str,
        memory_mb: int,
        root: Path = Path("/sys/fs/cgroup"),
        own_groups: str | None = None,
    ) -> "CpuShare | None":
        """Make the group below our own, v1 or v2; None where that can't be done.

        `own_groups` has the form of /proc/self/cgroup, which it is unless given.
        """
        quota = CPU_PERIOD_US * memory_mb // MB_PER_VCPU
        for parent in _parents(root, _own_groups() if own_groups is None else own_groups):
            directory = parent / name
            try:
                directory.mkdir()
                _limit(directory, quota)
            except OSError:
                if directory.is_dir():
                    directory.rmdir()
                continue
            return cls(directory)
        return None

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words to put before a command so that it runs inside the group."""
        return ("/bin/sh", "-c", _JOIN_CGROUP, "sh", str(self.directory))


def _own_groups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def _limit(directory: Path, quota_us: int) -> None:
    if (directory.parent / "cgroup.subtree_control").exists():  # v2
        (directory / "cpu.max").write_text(f"{quota_us} {CPU_PERIOD_US}")
    else:
        (directory / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_US))
        (directory / "cpu.cfs_quota_us").write_text(str(quota_us))


def _parents(root: Path, own_groups: str) -> list[Path]:
    """Where a group with a CPU controller may be made, by the lines of /proc/self/cgroup.

    With v2 a group that holds processes can't pass controllers on, so it is the nearest one above
    that does.
    """
    parents = []
    for line in own_groups.splitlines():
        _, controllers, path = line.split(":", 2)
        group = Path(path.lstrip("/"))
        if "cpu" in controllers.split(","):
            parents += [root / mount / group for mount in (controllers, "cpu")]
        elif not controllers:
            parents += [
                root / above
                for above in (group, *group.parents)
                if "cpu" in _passed_on(root / above)
            ]
    return [parent for parent in dict.fromkeys(parents) if os.access(parent, os.W_OK)]


def _passed_on(group: Path) -> list[str]:
    try:
        return (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []
