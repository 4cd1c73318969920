"""Libraries without a wheel: built from their sources where those hold nothing to compile.

A compiled library would be for the machine that built it. Whether one is pure Python shows when it
is built for the other processor: uv refuses a result that fits only this one. Where compiled parts
are optional, it shows by the build's call of a compiler, which it doesn't get.
"""

import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.package.lock.compilers import NoCompilers
from infra.package.lock.file import OLDEST_PYTHON, entries, is_git, options, versions
from infra.package.lock.hints import WITH_WHEELS
from infra.package.lock.resolution import explained, is_unreachable, relevant_lines
from infra.package.target import PackageError, Target, configured_python, this_architecture
from infra.toolchain.uv import environment_for_builds, find_uv, install_command

ARCHITECTURES = ("arm64", "x86_64")

_WITHOUT_WHEEL = re.compile(r"Because (\S+?)==\S+ has no (?:usable )?wheels")
_COMPILED = "is not compatible with the target"
_HINT = re.compile(r"^hint: (?!Build failures)(.+)", re.MULTILINE)
_WHEEL = re.compile(r"-(?P<python>[^-/]+)-[^-/]+-(?P<platform>[^-/]+)\.whl$")


def built_here(lock: str) -> tuple[tuple[str, ...], list[str]]:
    """The libraries of a lock that have to be built from their sources, and warnings about those
    that one of Lambda's processors can't have.

    Builds each once, which runs its code. Raises PackageError with a line for each that neither can
    have.
    """
    built, warnings, refused = _built_links(lock), [], []
    for name, targets in sorted(_without_wheels(lock).items()):
        problem = _problem(lock, name, targets)
        if not problem:
            built.append(name)
        elif len(targets) < len(ARCHITECTURES):
            warnings.append(problem)
        else:
            refused.append(problem)
    if refused:
        raise PackageError("\n".join(refused))
    return tuple(sorted(built)), warnings


def _built_links(lock: str) -> list[str]:
    """The names of git links, each built once. Raises PackageError."""
    names = [name for name, entry in entries(lock).items() if is_git(entry)]
    for name in names:
        if failure := _failure_of_build(lock, name):
            raise PackageError(f"{name} can't be shipped: {_in_short(failure)}")
    return names


def _without_wheels(lock: str) -> dict[str, list[Target]]:
    """The targets that a library has no wheel for, by its name. Raises PackageError."""
    targets = [Target(configured_python(), arch) for arch in ARCHITECTURES]
    with ThreadPoolExecutor(len(targets)) as threads:
        found = [*threads.map(lambda target: _without_wheel(lock, target), targets)]
    return {
        name: [target for target, names in zip(targets, found, strict=True) if name in names]
        for name in set().union(*found)
    }


def _without_wheel(lock: str, target: Target) -> set[str]:
    """The names of what has no wheel for `target`. Raises PackageError."""
    rest = {name: entry for name, entry in entries(lock).items() if not is_git(entry)}
    found: set[str] = set()
    while stderr := _failure("".join([options(lock), *rest.values()]), target, "--dry-run"):
        named = _WITHOUT_WHEEL.search(stderr)
        if named is None or named[1] not in rest:
            raise explained("requirements.lock", stderr)
        found.add(named[1])
        del rest[named[1]]
    return found


def _failure_of_build(lock: str, name: str) -> str:
    """What uv reports where `name` can't be built for the other processor, or has parts that are
    compiled where a compiler is there; empty where it can."""
    other = next(arch for arch in ARCHITECTURES if arch != this_architecture())
    entry = entries(lock)[name]
    with TemporaryDirectory() as folder:
        compilers = NoCompilers(Path(folder))
        failure = _failure(
            options(lock) + entry, Target(configured_python(), other), "--no-binary", name,
            # uv's own may have a result of a build without a compiler.
            "--cache-dir", str(Path(folder, "cache")),
            environment=compilers.environment(environment_for_builds()),
        )  # fmt: skip
        return _COMPILED if compilers.asked else failure


def _failure(
    entries: str, target: Target, *arguments: str, environment: dict[str, str] | None = None
) -> str:
    """uv's stderr where the installation of a lock's `entries` for `target` fails."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [*install_command(target.python, target.platform, Path(folder, "to")), *arguments,
             *([] if is_git(entries) else ["--require-hashes"])],
            cwd=folder, env=environment or environment_for_builds(), input=entries, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    if done.returncode and is_unreachable(done.stderr):
        raise explained("requirements.lock", done.stderr)
    return done.stderr if done.returncode else ""


def _problem(lock: str, name: str, targets: list[Target]) -> str:
    """One line on why a library without a wheel for `targets` can't be built for them, and what to
    try; empty where it can."""
    wheels = _wheels(lock, name)
    if any(wheel["platform"] != "any" for wheel in wheels):
        failure = "it has compiled parts"
    elif failure := _failure_of_build(lock, name):
        failure = _in_short(failure)
    else:
        return ""
    processors = ", ".join(target.arch for target in targets)
    where = f"Python {targets[0].python} on Linux ({processors})"
    found = f"{name} {versions(lock)[name]} has no wheel for {where}, and {failure}"
    return f"{found}. {_advice(name, wheels)}"


def _advice(name: str, wheels: list[re.Match[str]]) -> str:
    pythons = sorted({wheel["python"] for wheel in wheels if "linux" in wheel["platform"]})
    if pythons:
        return f"Its wheels are for {', '.join(pythons)}: try a newer version."
    if wheels:
        return (
            "Its wheels are for other systems: mark it `; sys_platform != 'linux'`, or replace it."
        )
    if name in WITH_WHEELS:
        return f"Require {WITH_WHEELS[name]} in its place, which has wheels."
    return "Try a newer version, or another library that has wheels."


def _in_short(stderr: str) -> str:
    """uv's words on a build that failed."""
    if _COMPILED in stderr:
        return "it has compiled parts"
    hint = _HINT.search(stderr)
    said = hint[1].rstrip(".") if hint else relevant_lines(stderr)[-1]
    return f"building it fails ({said})"


def _wheels(lock: str, name: str) -> list[re.Match[str]]:
    """The wheels that the index has of a library in the version that is locked."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [find_uv(), "pip", "compile", "--quiet", "--format", "pylock.toml", "--no-deps",
             "--universal", "--python-version", OLDEST_PYTHON, "--python", sys.executable, "-"],
            cwd=folder, env=environment_for_builds(), text=True,
            input=options(lock) + entries(lock)[name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    packages = tomllib.loads(done.stdout).get("packages", [])
    wheels = [wheel for package in packages for wheel in package.get("wheels", [])]
    matches = [_WHEEL.search(wheel.get("url", wheel.get("path", ""))) for wheel in wheels]
    return [match for match in matches if match]
