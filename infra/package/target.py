"""Which Python and machine a package is for."""

import platform
import re
import sys
from dataclasses import dataclass

from infra.toolchain.errors import UserError
from infra.toolchain.folders import ROOT
from infra.toolchain.pythons import this_version

# Lambda's names of processors, by what platform.machine() returns.
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}

# uv's names. Lambda runs Amazon Linux 2023, whose glibc is 2.34; manylinux2014 would silently pin
# old wheels. But Python 3.11 runs on Amazon Linux 2, with 2.26.
OF_AMAZON_LINUX_2 = ("3.11",)
PLATFORMS = {
    ("linux", "x86_64"): "x86_64-manylinux_2_28",
    ("linux", "arm64"): "aarch64-manylinux_2_28",
    ("macos", "x86_64"): "x86_64-apple-darwin",
    ("macos", "arm64"): "aarch64-apple-darwin",
}


class PackageError(UserError):
    """The package can't be built: the message's first line is the reason, others give details."""


@dataclass(frozen=True)
class Target:
    """A minor version such as "3.13"; x86_64 or arm64; linux or macos."""

    python: str
    arch: str
    system: str = "linux"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.\d+", self.python) or int(self.python[2:]) < 11:
            raise PackageError(f"Python {self.python!r} is invalid: use 3.11, 3.12, 3.13, …")
        if (self.system, self.arch) not in PLATFORMS:
            raise PackageError(f"machine {self.arch!r} is invalid: use x86_64 or arm64")

    def __str__(self) -> str:
        return f"Python {self.python} on {self.system} {self.arch}"

    @classmethod
    def on_lambda(cls, python: str | None = None, arch: str | None = None) -> "Target":
        """By default the host's Python and this machine's architecture."""
        return cls(python or configured_python(), arch or this_architecture())

    @classmethod
    def here(cls) -> "Target":
        """This machine and the running Python: what `make run` and the tests run."""
        system = "macos" if sys.platform == "darwin" else "linux"
        return cls(this_version(), this_architecture(), system)

    @property
    def name(self) -> str:
        """As in the folder's name: 3.13-arm64, 3.13-macos-arm64."""
        system = "" if self.system == "linux" else f"{self.system}-"
        return f"{self.python}-{system}{self.arch}"

    @property
    def platform(self) -> str:
        """As uv's --python-platform."""
        platform = PLATFORMS[self.system, self.arch]
        if self.python in OF_AMAZON_LINUX_2:
            return platform.replace("manylinux_2_28", "manylinux2014")
        return platform


def configured_python() -> str:
    """The Python that functions run on where nothing else is chosen."""
    return (ROOT / ".python-version").read_text().strip()


def this_architecture() -> str:
    return ARCHITECTURES.get(platform.machine(), platform.machine())
