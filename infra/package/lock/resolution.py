"""From requirements to every version and hash, by uv; and what uv reports where that fails."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.package.lock.file import OLDEST_PYTHON
from infra.package.lock.hints import overrides
from infra.package.lock.host_pins import tested_pins
from infra.package.lock.requirements import Requirements
from infra.package.target import PackageError, configured_python
from infra.toolchain.uv import environment_for_builds, find_uv

_UNREACHABLE = re.compile(r"error sending request|dns error|Request failed after|network was disab")
_SERVER = re.compile(r"://(?:[^/@\s]*@)?([^/\s`]+)")
_NEWER_PYTHON = re.compile(r"requested Python version|requires-python|requires Python")
_CONFLICT = "requirements are unsatisfiable"
_HEADING = re.compile(r"^(error|cause|hint): ")
_NOISE = re.compile(
    r"No solution found|The build backend returned|Call to `|\[std|Traceback|File \"|Using CPython"
    r"|Build failures usually"
)
_MOST_LINES = 6
# What to do, by what uv's words contain.
_ADVICE = {
    "was not found in the": "Is the name spelled right?",
    "there is no version of": "Does that version exist?",
    "Couldn't parse": "Each line is a name, with or without versions.",
    "Failed to build": "A library without a wheel can't be built: try a newer one, or another.",
    "Git operation failed": "Is the link right, and may git on this machine read it?",
    "": "Loosen one of these requirements.",
}


class Unreachable(PackageError):
    """The index of packages can't be reached."""


@dataclass(frozen=True)
class Resolution:
    """The entries of a lock; the oldest Python that they are for; and whether the host's tested
    versions had to take the place of the bot's, as for those of a `pip freeze` of last year."""

    lock: str
    python: str
    host_first: bool = False


def resolve(
    requirements: Requirements,
    host: Path,
    seed: str,
    folder: Path,
    upgrade: Sequence[str] | None = (),
) -> Resolution:
    """`host` is laid out as handler/. Versions in `seed`, a lock, are kept where the requirements
    allow them, but for the names in `upgrade`; None takes the newest of all. `folder` is an empty
    one to work in. Raises PackageError; Unreachable without a network.
    """
    _write_inputs(requirements, host, folder)
    own = overrides(requirements)
    tested = [f"{name}=={version}" for name, version in tested_pins(host).items()]
    failure = ""
    for host_first in (False, True):
        _write_lines(folder / "overrides.txt", [*own, *(tested if host_first else [])])
        lock, python, stderr = _resolve_for_a_python(folder, seed, upgrade)
        if not stderr:
            indexes = "".join(f"{line}\n" for line in requirements.indexes)
            return Resolution(indexes + lock, python, host_first)
        failure = failure or stderr
        if _CONFLICT not in stderr:
            break
    raise explained(requirements.file.name, failure)


def _resolve_for_a_python(
    folder: Path, seed: str, upgrade: Sequence[str] | None
) -> tuple[str, str, str]:
    """The lock, the oldest Python that it is for, and uv's words if it fails."""
    newest = int(configured_python().partition(".")[2])
    for minor in range(int(OLDEST_PYTHON[2:]), newest + 1):
        (folder / "requirements.lock").write_text(seed, "utf-8")
        done = _compile(folder, f"3.{minor}", upgrade)
        if not done.returncode:
            return (folder / "requirements.lock").read_text("utf-8"), f"3.{minor}", ""
        # Versions pinned on a newer Python often need it.
        if not _NEWER_PYTHON.search(done.stderr):
            break
    return "", "", done.stderr


def _write_inputs(requirements: Requirements, host: Path, folder: Path) -> None:
    shutil.copyfile(host / "requirements.in", folder / "host.txt")
    # Found there by uv, which reads the user's own configuration too.
    shutil.copyfile(host / "uv.toml", folder / "uv.toml")
    lines = {
        "requirements.txt": [*requirements.indexes, *requirements.lines],
        "constraints.txt": requirements.constraints,
    }
    for name, content in lines.items():
        _write_lines(folder / name, content)


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _compile(
    folder: Path, python: str, upgrade: Sequence[str] | None
) -> subprocess.CompletedProcess[str]:
    names = [argument for name in upgrade or () for argument in ("--upgrade-package", name)]
    return subprocess.run(
        [
            find_uv(), "pip", "compile", "--quiet", "--universal", "--python-version", python,
            "--python", sys.executable,
            "--generate-hashes", "--no-header", "--output-file", "requirements.lock",
            # A bot that pins another fastapi_poe gets the host's, which the host was tested with.
            "--overrides", "host.txt", "--overrides", "overrides.txt",
            "--constraints", "constraints.txt",
            *(["--upgrade"] if upgrade is None else names), "requirements.txt", "host.txt",
        ],
        cwd=folder, env=environment_for_builds(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def explained(what: str, stderr: str) -> PackageError:
    """The error for `what`, a file: what to do about it, and what uv reports, in a few lines."""
    if is_unreachable(stderr):
        server = _SERVER.search(stderr)
        place = server[1] if server else "the index of packages"
        return Unreachable(f"{what} can't be locked without a network: {place} can't be reached")
    advice = next(advice for words, advice in _ADVICE.items() if words in stderr)
    details = "\n".join(f"  {line}" for line in relevant_lines(stderr)[:_MOST_LINES])
    return PackageError(f"{what} can't be locked. {advice} uv reports:\n{details}")


def is_unreachable(stderr: str) -> bool:
    return bool(_UNREACHABLE.search(stderr))


def relevant_lines(stderr: str) -> list[str]:
    """uv's words without their headings, and without lines that don't concern the cause."""
    lines = [_HEADING.sub("", line.strip()) for line in stderr.splitlines()]
    return [line for line in lines if line and not _NOISE.match(line)]
