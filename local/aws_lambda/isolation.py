"""What separates an execution environment from the rest of this machine."""

import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from local.aws_lambda.cgroups import Cgroups, Controller
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.logs import LineSink
from local.aws_lambda.sandbox import Sandbox, shortcoming


@dataclass(frozen=True)
class Isolation:
    """One environment's name, /tmp, limits (`cgroups`) and view of the files (`sandbox`)."""

    name: str
    tmp: Path
    cgroups: Cgroups
    sandbox: Sandbox | None

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words to put before the environment's command."""
        if self.sandbox is None:
            return self.cgroups.prefix
        return self.sandbox.prefix(self.tmp, self.cgroups.directories)

    @property
    def tmpdir(self) -> Path | None:
        """What TMPDIR has to name, where /tmp isn't the environment's own."""
        return None if self.sandbox and self.sandbox.own_tmp else self.tmp

    def prepare(self) -> None:
        self.tmp.mkdir()
        if self.sandbox:
            self.sandbox.prepare(self.tmp)

    def remove(self) -> None:
        """Remove all of it; its processes have been killed. This may take a moment."""
        shutil.rmtree(self.tmp, ignore_errors=True)
        self.cgroups.remove()


class Isolations:
    """Creates one isolation after another, and reports once what this machine can't do."""

    def __init__(self, work_directory: Path, on_line: LineSink) -> None:
        self._work_directory = work_directory
        self._on_line = on_line
        self._reported: set[str] = set()
        self._names = (f"environment-{number}" for number in count(1))
        self._sandboxes: dict[tuple[Path, ...], Sandbox | None] = {}

    def make(self, config: FunctionConfig) -> Isolation:
        name = next(self._names)
        cgroups, sandbox = self._cgroups(name, config), self._sandbox(config)
        return Isolation(name, self._work_directory / name, cgroups, sandbox)

    def _sandbox(self, config: FunctionConfig) -> Sandbox | None:
        package, needed = config.package.absolute(), config.needed_paths
        key = (package, *needed)
        if key not in self._sandboxes:
            self._sandboxes[key] = Sandbox.find(package, needed)
            if text := shortcoming(self._sandboxes[key]):
                self._report(text)
        return self._sandboxes[key]

    def _cgroups(self, name: str, config: FunctionConfig) -> Cgroups:
        wanted: tuple[Controller, ...] = ("cpu", "memory") if config.cpu_share else ("memory",)
        cgroups = Cgroups.create(f"local-lambda-{os.getpid()}-{name}", config.memory_mb, wanted)
        if config.cpu_share and cgroups.cpu is None:
            self._report("can't write cgroups, so the function has the whole CPU")
        if config.cpu_share and cgroups.memory is None:
            self._report(
                "can't write memory cgroups, so the function can exceed its memory for a moment"
            )
        return cgroups

    def _report(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._on_line(f"local Lambda: {text}")
