"""Where an execution environment lives: its directories, its limits, and what fences it in."""

import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from local.lambda_cgroups import Cgroups, Controller
from local.lambda_config import FunctionConfig
from local.lambda_logs import LineSink
from local.lambda_sandbox import read_only_prefix


@dataclass(frozen=True)
class Place:
    """One environment's name, directories, and the command words that fence it in."""

    name: str
    work_directory: Path
    cgroups: Cgroups
    fence: tuple[str, ...] = ()

    @property
    def tmp(self) -> Path:
        return self.work_directory / self.name

    @property
    def runtime_dir(self) -> Path:
        return self.work_directory / "runtime"

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words to put before the environment's command."""
        return (*self.fence, *self.cgroups.prefix)

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
        self._read_only_prefixes: dict[Path, tuple[str, ...]] = {}

    def make(self, config: FunctionConfig) -> Place:
        name = next(self._names)
        return Place(name, self._work_directory, self._cgroups(name, config), self._fence(config))

    def _fence(self, config: FunctionConfig) -> tuple[str, ...]:
        package = config.package.absolute()
        if package not in self._read_only_prefixes:
            prefix = read_only_prefix(package)
            if prefix is None:
                self._say(f"can't make {package} read-only, as Lambda would")
            self._read_only_prefixes[package] = prefix or ()
        return self._read_only_prefixes[package]

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
