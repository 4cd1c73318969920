"""The bot's libraries for a target: installed by uv, trimmed, compiled, and kept for next time."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from infra.package import certificates
from infra.package.kept import mark_used, remove_unused
from infra.package.lock.file import entries, is_git, read_text
from infra.package.lock.lock import Lock
from infra.package.target import PackageError, Target
from infra.package.trim import trim
from infra.toolchain.folders import fix_modes_and_times, is_untouched, made_aside
from infra.toolchain.pythons import environment_for_tools, find_python, this_version
from infra.toolchain.uv import environment_for_builds, install_command

HERE = Path(__file__).parent
COMPILER = HERE / "compile_pyc.py"
RECIPE = (
    Path(__file__), COMPILER, HERE / "certificates.py", HERE / "trim.py", HERE / "unused_tests.py",
)  # fmt: skip
FOLDER_AT_RUN_TIME = "/var/task"

# pydantic 1 inside of pydantic 2, for code that still asks for it: 4 % of the zip; and what needs a
# library that is not there.
SELDOM_IMPORTED = ("pydantic/v1", "pydantic/mypy.py", "anyio/_backends/_trio.py")


def install_libraries(lock: Lock, target: Target, cache: Path, named: Collection[str] = ()) -> Path:
    """The libraries for `target`, trimmed and compiled; installed unless `cache` has them.

    `named`: the libraries' tests that the bot's own modules name. Raises PackageError.
    """
    python = find_python(target.python)
    if python is None:
        warn_of_missing_pyc(target)
    folder = cache / f"{target.name}-{fingerprint(lock, target, python, named)}"
    mark_used(folder)
    # The package links to these files: an edit there is an edit here.
    if not is_untouched(folder):
        print(f"Installing the bot's libraries for {target.name}", file=sys.stderr)
        # Another process that has installed the same meanwhile may be copying it: leave that.
        with made_aside(folder, replace=folder.exists()) as aside:
            run_uv(lock, target, aside)
            trim(aside, named)
            add_certificates(aside)
            if python is not None:
                compile_folder(aside, python, FOLDER_AT_RUN_TIME)
                for name in SELDOM_IMPORTED:
                    drop_pyc(aside / name)
            fix_modes_and_times(aside)
        mark_used(folder)
        remove_unused(cache)
    return folder


def warn_of_missing_pyc(target: Target) -> None:
    print(
        f"warning: the package is for Python {target.python}, which this machine doesn't have to"
        " compile it: without .pyc files a cold start takes about three times as long."
        f" Install Python {target.python}, or build for {this_version()}.",
        file=sys.stderr,
    )


def fingerprint(lock: Lock, target: Target, python: Path | None, named: Collection[str]) -> str:
    """Names all that the installed libraries' bytes depend on, this recipe among it."""
    digest = hashlib.sha256("\0".join([target.name, *sorted(named)]).encode())
    for file in (lock.file, *RECIPE):
        digest.update(file.read_bytes())
    if python is not None:
        digest.update(subprocess.run([python, "-VV"], stdout=subprocess.PIPE, check=True).stdout)
    return digest.hexdigest()[:16]


def run_uv(lock: Lock, target: Target, folder: Path) -> None:
    """Install the pinned libraries for `target` into `folder`. Raises PackageError."""
    text = read_text(lock.file)
    # A commit is its own hash; uv wants another of everything that it installs by hash.
    links = [entry for entry in entries(text).values() if is_git(entry)]
    hashed = functools.reduce(lambda rest, link: rest.replace(link, ""), links, text)
    install = install_command(target.python, target.platform, folder)
    install += [argument for name in lock.built_here for argument in ("--no-binary", name)]
    for requirements, hashes in ((hashed, ["--require-hashes"]), ("".join(links), [])):
        if not requirements:
            continue
        done = subprocess.run(
            [*install, *hashes], input=requirements, text=True,
            env=environment_for_builds(), stderr=subprocess.PIPE,
        )  # fmt: skip
        if done.returncode:
            raise PackageError(
                f"{os.path.relpath(lock.file)} can't be installed for {target}; uv reports:\n"
                + done.stderr.rstrip()
            )


def drop_pyc(place: Path) -> None:
    """Leave the sources alone, of a folder or a file: importing them takes longer, and works."""
    for pyc in place.parent.glob(f"__pycache__/{place.stem}.*.pyc"):
        pyc.unlink()
    for cache in [*place.rglob("__pycache__")]:
        shutil.rmtree(cache)


def add_certificates(folder: Path) -> None:
    bundle = folder / "certifi" / "cacert.pem"
    if bundle.exists():
        certificates.write_directory(bundle, folder / "certificates")


def compile_folder(folder: Path, python: Path, folder_at_run_time: str) -> list[str]:
    """Give each module its .pyc; the result has a line `path:line: message` for each that fails.

    Raises PackageError.
    """
    command: list[str | Path] = [
        # Which column of a line an error came from is a fifth of a .pyc, and no log shows it.
        python, "-SsP", "-X", "no_debug_ranges", "-W", "ignore", COMPILER, folder_at_run_time,
    ]  # fmt: skip
    compiled = subprocess.run(
        command,
        cwd=folder,
        env=environment_for_tools(),
        capture_output=True,
        text=True,
    )
    if compiled.returncode:
        raise PackageError(f"the modules can't be compiled: {compiled.stderr.strip()}")
    return compiled.stdout.splitlines()
