"""An environment's view of the files: its package is read-only, its /tmp its own.

Both are mounts in a namespace of the process's own (Linux, as root or where user namespaces are
allowed); the machine sees neither. What lies below the machine's /tmp and is needed, the package
for example, stays where it is: its topmost directory is mounted into the environment's /tmp.
"""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_TMP = Path("/tmp")

_MOUNT = """\
while [ "$1" != -- ]; do mount --rbind "$1" "$2" && shift 2 || exit; done; shift
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && cd "$1" && shift && exec "$@"
"""
_ALL_ARE_THERE = 'for each; do [ -e "$each" ] || exit; done'

# Private, or else these mounts would be the machine's too, and cleaning up would follow them.
_UNSHARE = ("unshare", "--mount", "--propagation", "private")
_AS_USER = ("--user", "--map-current-user", "--keep-caps")
_DROP_CAPABILITIES = ("setpriv", "--ambient-caps", "-all", "--inh-caps", "-all", "--")


@dataclass(frozen=True)
class Namespaces:
    """How to enter new namespaces: words before the mounts, which need privileges, and words after
    them that drop these."""

    before: tuple[str, ...]
    after: tuple[str, ...] = ()


_NAMESPACES = (
    Namespaces((*_UNSHARE, "--")),
    Namespaces((*_UNSHARE, *_AS_USER, "--"), _DROP_CAPABILITIES),
)


@dataclass(frozen=True)
class Sandbox:
    """How the environments of a package get their view of the files on this machine."""

    package: Path
    kept: tuple[Path, ...]
    """Entries of the machine's /tmp that stay visible."""
    namespaces: Namespaces

    @classmethod
    def find(cls, package: Path, needed: Iterable[Path]) -> "Sandbox | None":
        """Try it; None if this machine can't. Of `needed`, the paths that exist stay reachable."""
        if _TMP.is_relative_to(package):
            return None
        reached = [package, *(path for path in needed if path.exists())]
        for namespaces in _NAMESPACES:
            sandbox = cls(package, _entries_of_tmp(reached), namespaces)
            with TemporaryDirectory() as tmp:
                sandbox.prepare(Path(tmp))
                check = ["/bin/sh", "-c", _ALL_ARE_THERE, "sh", *map(str, reached)]
                if _runs([*sandbox.prefix(Path(tmp)), *check]):
                    return sandbox
        return None

    def prepare(self, tmp: Path) -> None:
        """Create the mount points in an environment's new /tmp."""
        for entry in self.kept:
            if entry.is_dir():
                (tmp / entry.name).mkdir()
            else:
                (tmp / entry.name).touch()

    def prefix(self, tmp: Path) -> tuple[str, ...]:
        """Words to put before a command so that it runs in the sandbox, with `tmp` as its /tmp."""
        mounts = [(entry, tmp / entry.name) for entry in self.kept] + [(tmp, _TMP)]
        words = [str(path) for mount in mounts for path in mount]
        shell = ("/bin/sh", "-c", _MOUNT, "sh", *words, "--", str(self.package))
        return (*self.namespaces.before, *shell, *self.namespaces.after)


def _entries_of_tmp(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The entries of /tmp that lead to any of these paths, or to what they link to."""
    names = {name for path in paths for name in (path.absolute(), path.resolve())}
    below = (name.relative_to(_TMP).parts for name in names if name.is_relative_to(_TMP))
    return tuple(sorted({_TMP / parts[0] for parts in below if parts}))


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
