"""Ends what a local Lambda started when it cannot do so itself, after a SIGKILL for example.

`main` is a process of its own, this file run as a script. From its standard input it reads lines
`+ <process group>`, `- <process group>` and `cgroup <directory>`. When that closes, for whatever
reason, it kills the groups that are left and removes the work directory that its argument names.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


class Reaper:
    """The parent's end: it sends what has to be ended; `close` it when nothing is left."""

    def __init__(self, work_directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(work_directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the terminal's Ctrl-C is not for it
            text=True,
        )

    def watch(self, group: int) -> None:
        self._tell(f"+ {group}")

    def forget(self, group: int) -> None:
        self._tell(f"- {group}")

    def watch_cgroup(self, directory: Path) -> None:
        self._tell(f"cgroup {directory}")

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


def main(work_directory: str) -> None:
    groups: set[int] = set()
    cgroups: list[str] = []
    for line in sys.stdin:
        kind, value = line.rstrip("\n").split(" ", 1)
        if kind == "+":
            groups.add(int(value))
        elif kind == "-":
            groups.discard(int(value))
        else:
            cgroups.append(value)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(work_directory, ignore_errors=True)
    for cgroup in cgroups:
        remove_cgroup(cgroup)


def remove_cgroup(directory: str) -> None:
    """End what is left in a cgroup, even in another process group, and remove it.

    That can be done once the processes are gone, which takes a moment.
    """
    for _ in range(50):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            _kill_members(directory)
            time.sleep(0.02)


def _kill_members(cgroup: str) -> None:
    with suppress(OSError):
        for pid in Path(cgroup, "cgroup.procs").read_text().split():
            if pid != "0":  # of a PID namespace that we don't see into; to `kill` it is ourselves
                os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
