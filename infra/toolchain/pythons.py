"""Finds Python interpreters, and makes bare ones for running the package."""

import functools
import os
import subprocess
import sys
from pathlib import Path

from infra.toolchain.folders import BUILD, made_aside


def this_version() -> str:
    """The minor version of the running Python, such as "3.13"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@functools.cache
def find_python(version: str) -> Path | None:
    """An interpreter of exactly this minor version, or None where this machine can't supply one."""
    if version == this_version():
        return Path(sys.executable)
    search = ["sh", str(Path(__file__).with_name("find-python.sh")), version, "exact"]
    found = subprocess.run(search, stdout=subprocess.PIPE, text=True).stdout.strip()
    return Path(found) if found else None


def runtime_python(version: str | None = None) -> Path:
    """The Python of a virtual environment without any package, build/python-<version>.

    What runs on it imports nothing from .venv. `version` is a minor version, by default the
    running Python's. LookupError where the machine has no such Python.
    """
    version = version or this_version()
    folder = BUILD / f"python-{version}"
    if not _runs(folder / "bin" / "python"):
        base = find_python(version)
        if base is None:
            raise LookupError(f"no Python {version} on this machine: install it")
        with made_aside(folder) as aside:
            subprocess.run([base, "-m", "venv", "--without-pip", aside], check=True)
    return folder / "bin" / "python"


def _runs(python: Path) -> bool:
    """False as well for an environment whose base interpreter is gone."""
    return python.exists() and subprocess.run([python, "-SEsc", ""]).returncode == 0


def environment_for_tools() -> dict[str, str]:
    """This process's environment without what would change how another Python behaves."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
