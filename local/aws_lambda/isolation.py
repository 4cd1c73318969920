"""Where an execution environment lives: its directories, its limits, and what fences it in."""

import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from local.aws_lambda.cgroups import Cgroups, Controller
from local.aws_lambda.config import FunctionConfig
from local.aws_lambda.logs import LineSink
from local.aws_lambda.sandbox import Fence


@dataclass(frozen=True)
class Place:
    """One environment's name, its directory, and what limits it and fences it in."""

    name: str
    tmp: Path
    cgroups: Cgroups
    fence: Fence | None

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words to put before the environment's command."""
        return (*(self.fence.prefix(self.tmp) if self.fence else ()), *self.cgroups.prefix)

    def prepare(self) -> None:
        self.tmp.mkdir()
        if self.fence:
            self.fence.prepare(self.tmp)

    def remove(self) -> None:
        """Take all of it back; its processes have been killed. This may take a moment."""
        shutil.rmtree(self.tmp, ignore_errors=True)
        self.cgroups.remove()


class Places:
    """Makes one place after another, and says once what can't be had here."""

    def __init__(self, work_directory: Path, on_line: LineSink) -> None:
        self._work_directory = work_directory
        self._on_line = on_line
        self._said: set[str] = set()
        self._names = (f"environment-{number}" for number in count(1))
        self._fences: dict[tuple[Path, ...], Fence | None] = {}

    def make(self, config: FunctionConfig) -> Place:
        name = next(self._names)
        cgroups, fence = self._cgroups(name, config), self._fence(config)
        return Place(name, self._work_directory / name, cgroups, fence)

    def _fence(self, config: FunctionConfig) -> Fence | None:
        package, needed = config.package.absolute(), config.needed_paths
        key = (package, *needed)
        if key not in self._fences:
            self._fences[key] = Fence.find(package, needed)
            if self._fences[key] is None:
                self._say(f"can't make {package} read-only and /tmp its own, as Lambda would")
        return self._fences[key]

    def _cgroups(self, name: str, config: FunctionConfig) -> Cgroups:
        wanted: tuple[Controller, ...] = ("cpu", "memory") if config.cpu_share else ("memory",)
        cgroups = Cgroups.create(f"local-lambda-{os.getpid()}-{name}", config.memory_mb, wanted)
        if config.cpu_share and cgroups.cpu is None:
            self._say("can't write cgroups, so the function has the whole CPU")
        if config.cpu_share and cgroups.memory is None:
            self._say(
                "can't write memory cgroups, so the function can pass its memory limit for a moment"
            )
        return cgroups

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._on_line(f"local Lambda: {text}")
