"""An environment's view of the files: everything but /tmp is read-only, as on Lambda.

Mounts in a namespace of the process's own give exactly that view, and a /tmp of its own (Linux, as
root or where user namespaces are allowed); the machine sees none of it. Where they are forbidden,
Landlock at least keeps writes below /tmp. What lies below the machine's /tmp and is needed, the
package for example, stays where it is: its topmost directory is mounted into the environment's
/tmp.
"""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

Way = Literal["root", "user", "landlock"]

_TMP = Path("/tmp")
# Imported, not run as a file, so that it is compiled once; last on the path, behind Python's own.
_ENTER = "import sys; sys.path.append(sys.argv.pop(1)); import enter_sandbox; enter_sandbox.main()"
_WAYS: tuple[Way, ...] = ("root", "user", "landlock")
_ALL_ARE_THERE = 'for each; do [ -e "$each" ] || exit; done'

_SETTINGS = {
    "kernel/apparmor_restrict_unprivileged_userns": "0",
    "kernel/unprivileged_userns_clone": "1",
    "user/max_user_namespaces": "15000",
}
"""What can forbid user namespaces, below /proc/sys, and the value that allows them."""


@dataclass(frozen=True)
class Sandbox:
    """How the environments of a package get their view of the files on this machine."""

    kept: tuple[Path, ...]
    """Entries of the machine's /tmp that stay visible."""
    way: Way

    @classmethod
    def find(cls, package: Path, needed: Iterable[Path]) -> "Sandbox | None":
        """Try it; None if this machine can't. Of `needed`, the paths that exist stay reachable."""
        reached = [package, *(path for path in needed if path.exists())]
        return next((each for each in cls._possible(reached) if each._keeps(reached)), None)

    @classmethod
    def _possible(cls, reached: Sequence[Path]) -> Iterable["Sandbox"]:
        for way in _WAYS:
            if way == "landlock":
                yield cls((), way)
            elif not any(_TMP.is_relative_to(path) for path in reached):
                yield cls(_entries_of_tmp(reached), way)

    @property
    def own_tmp(self) -> bool:
        """Whether the path /tmp is the environment's own; else it is this machine's."""
        return self.way != "landlock"

    def prepare(self, tmp: Path) -> None:
        """Create the mount points in an environment's new /tmp."""
        for entry in self.kept:
            if entry.is_dir():
                (tmp / entry.name).mkdir()
            else:
                (tmp / entry.name).touch()

    def prefix(self, tmp: Path, cgroups: Iterable[Path] = ()) -> tuple[str, ...]:
        """Words to put before a command so that it runs in the sandbox and in these groups.

        `tmp` is its /tmp. (The groups can't be joined from inside, where they are read-only.)
        """
        words = (self.way, tmp, *self.kept, "--", *cgroups, "--")
        enter = (sys.executable, "-I", "-S", "-c", _ENTER, Path(__file__).parent)
        return (*map(str, enter), *map(str, words))

    def _keeps(self, paths: Sequence[Path]) -> bool:
        """Whether a command runs in it and finds all of these."""
        with TemporaryDirectory() as tmp:
            self.prepare(Path(tmp))
            check = ["/bin/sh", "-c", _ALL_ARE_THERE, "sh", *map(str, paths)]
            return _runs([*self.prefix(Path(tmp)), *check])


def shortcoming(sandbox: Sandbox | None) -> str:
    """What of Lambda's view is missing on this machine, and what to do about it; or nothing."""
    if sandbox is None:
        what = "the function can write everywhere and has a /dev/shm, unlike on Lambda"
    elif not sandbox.own_tmp:
        what = "/tmp is this machine's, and writing elsewhere fails with [Errno 13] instead of 30"
    else:
        return ""
    return f"{what}; {_remedy()}"


def _remedy() -> str:
    if sys.platform != "linux":
        return "that needs Linux, in a virtual machine for example"
    for name, value in _SETTINGS.items():
        if _setting(name) == ("1" if value == "0" else "0"):
            return f"to change that: `sudo sysctl {name.replace('/', '.')}={value}`"
    return (
        "to change that, allow user namespaces; start a container with"
        " `--cap-add SYS_ADMIN --security-opt apparmor=unconfined`"
    )


def _setting(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""


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
