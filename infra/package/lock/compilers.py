"""Programs in the place of compilers, which note that a build has asked for one.

A library whose compiled parts are optional builds without a word as its slower self where no
compiler is there. Here it never is, and the note shows that it isn't pure Python.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = (
    "cc", "gcc", "clang", "c++", "g++", "clang++", "gfortran", "cargo", "rustc", "go", "nvcc",
)  # fmt: skip
# What distutils, CMake and Rust's build scripts read, and would take by a path of their own.
_VARIABLES = {"CC": "cc", "CXX": "c++", "FC": "gfortran", "CARGO": "cargo", "RUSTC": "rustc"}
_SCRIPT = """#!/bin/sh
: > "$(dirname "$0")/../asked"
echo "$(basename "$0"): nothing is compiled here" >&2
exit 1
"""


@dataclass(frozen=True)
class NoCompilers:
    """In `folder`, an empty one: `environment` is for the build, `asked` for after it."""

    folder: Path

    def __post_init__(self) -> None:
        programs = self.folder / "programs"
        programs.mkdir()
        for name in _PROGRAMS:
            (programs / name).write_text(_SCRIPT)
            (programs / name).chmod(0o755)

    def environment(self, own: dict[str, str]) -> dict[str, str]:
        programs = self.folder / "programs"
        paths = {name: str(programs / program) for name, program in _VARIABLES.items()}
        return own | paths | {"PATH": f"{programs}{os.pathsep}{own.get('PATH', os.defpath)}"}

    @property
    def asked(self) -> bool:
        return (self.folder / "asked").exists()
