"""Builds the package for Lambda: for `make package`, `make run`, `cdk synth` and the tests alike.

    build/package-<python>-<arch>/
        bootstrap        the wrapper, mode 755
        handler/         the sources, with the bot
        certificates/    the authorities of certifi, one by one
        fastapi_poe/ …   every library of handler/requirements.txt

No Docker: uv picks the wheels for the target, wherever it runs. The same sources, requirements and
release of Python give the same bytes, modes and times: what did not change is not deployed anew.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.package import certificates
from infra.package.target import PackageError, Target
from infra.toolchain.folders import (
    BUILD,
    fix_entry,
    fix_modes_and_times,
    is_untouched,
    link_or_copy,
    made_aside,
)
from infra.toolchain.pythons import environment_for_tools, find_python, this_version
from infra.toolchain.uv import find_uv

__all__ = ["PackageError", "Target", "build"]

COMPILER = Path(__file__).with_name("compile_pyc.py")
FOLDER_AT_RUN_TIME = "/var/task"

# In handler/, but not of the package. Hidden files (.env, .DS_Store) stay out too.
BUILD_FILES = {"bootstrap", "excludes.txt", "requirements.in", "requirements.txt"}
NEVER_SHIPPED = {"__pycache__", "tests"}

# Installers' own notes. METADATA and entry_points.txt stay: opentelemetry reads them.
INSTALLERS_FILES = {"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "uv_cache.json"}

# pydantic 1 inside of pydantic 2, for code that still asks for it: 4 % of the zip; and what needs a
# library that is not there.
SELDOM_IMPORTED = ("pydantic/v1", "pydantic/mypy.py", "anyio/_backends/_trio.py")


def build(
    source: Path,
    target: Target,
    output: Path,
    bot_file: Path | None = None,
    *,
    cache: Path = BUILD / "libraries",
) -> Path:
    """Build the package of `source` (laid out as handler/) for `target`, as the folder `output`.

    `bot_file` takes the place of bot.py. What was at `output` stays whole until the new package is
    complete. Installed libraries are kept in `cache`. Gives `output`; raises PackageError.
    """
    try:
        libraries = install_libraries(source / "requirements.txt", target, cache)
        with made_aside(output) as folder:
            shutil.copytree(libraries, folder, dirs_exist_ok=True, copy_function=link_or_copy)
            add_sources(source, folder, bot_file)
            compile_sources(folder / "handler", target, bot_file)
            fix_modes_and_times(folder / "handler")
            fix_entry(folder / "bootstrap", 0o755)
            fix_entry(folder, 0o755)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PackageError(f"the package can't be written: {reason(error)}") from error
    return output


def reason(error: Exception) -> str:
    """One line; shutil.Error holds a (source, copy, reason) for every file of the tree."""
    return str(error.args[0][0][2] if isinstance(error, shutil.Error) else error)


def install_libraries(requirements: Path, target: Target, cache: Path) -> Path:
    """The libraries for `target`, trimmed and compiled; made where `cache` lacks them."""
    python = find_python(target.python)
    if python is None:
        warn_of_missing_pyc(target)
    folder = cache / f"{target.name}-{fingerprint(requirements, target, python)}"
    # The package links to these files: who edits one there, edits it here.
    if not is_untouched(folder):
        print(f"Installing the bot's libraries for {target.name}", file=sys.stderr)
        # Another process that made the same meanwhile may be copying it already: leave that.
        with made_aside(folder, replace=folder.exists()) as aside:
            run_uv(requirements, target, aside)
            trim(aside)
            add_certificates(aside)
            if python is not None:
                compile_folder(aside, python, FOLDER_AT_RUN_TIME)
                for name in SELDOM_IMPORTED:
                    drop_pyc(aside / name)
            fix_modes_and_times(aside)
    return folder


def warn_of_missing_pyc(target: Target) -> None:
    print(
        f"warning: the package is for Python {target.python}, which is not here to compile it:"
        " without .pyc files a cold start takes about three times as long."
        f" Install Python {target.python}, or build for {this_version()}.",
        file=sys.stderr,
    )


def fingerprint(requirements: Path, target: Target, python: Path | None) -> str:
    """Names all that the installed libraries' bytes depend on, this recipe among it."""
    digest = hashlib.sha256(target.name.encode())
    recipe = (Path(__file__), Path(certificates.__file__), COMPILER)
    for file in (requirements, *recipe):
        digest.update(file.read_bytes())
    if python is not None:
        digest.update(subprocess.run([python, "-VV"], stdout=subprocess.PIPE, check=True).stdout)
    return digest.hexdigest()[:16]


def run_uv(requirements: Path, target: Target, folder: Path) -> None:
    """Install the pinned wheels for `target` into `folder`."""
    command: list[str | Path] = [
        find_uv(), "pip", "install", "--quiet", "--requirements", requirements, "--target", folder,
        "--python", sys.executable, "--python-version", target.python,
        "--python-platform", target.platform,
        # The requirements are complete, but for what excludes.txt leaves out on purpose.
        "--require-hashes", "--no-deps",
        # Building from source would run the library's own code, and make binaries for this machine.
        "--only-binary", ":all:",
        # Files linked into uv's cache would get their modes and times changed there.
        "--link-mode", "copy",
    ]  # fmt: skip
    done = subprocess.run(command, env=environment_for_tools(), stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise PackageError(
            f"{os.path.relpath(requirements)} can't be installed for {target}; uv says why:\n"
            + done.stderr.rstrip()
        )


def trim(folder: Path) -> None:
    """Drop what a function never reads: console scripts, type stubs, notes for installers."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for stub in folder.rglob("*.pyi"):
        stub.unlink()
    for name in INSTALLERS_FILES:
        for file in folder.glob(f"*.dist-info/{name}"):
            file.unlink()
    for sboms in folder.glob("*.dist-info/sboms"):
        shutil.rmtree(sboms)
    for metadata in folder.glob("*.dist-info/METADATA"):
        fields, end, _ = metadata.read_text("utf-8").partition("\n\n")
        metadata.write_text(fields + end, "utf-8")  # what follows is the library's README


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


def add_sources(source: Path, folder: Path, bot_file: Path | None) -> None:
    """Copy the wrapper and the sources, with all that a user added to them."""
    bot = bot_file or source / "bot.py"
    if not bot.is_file():
        raise PackageError(f"no bot file {bot}: it should be there, and end with `bot = …`")
    if (folder / "handler").exists():
        raise PackageError("a library brings a module `handler`: that name is taken")

    def left_out(parent: str, names: list[str]) -> set[str]:
        unwanted = NEVER_SHIPPED | (BUILD_FILES if Path(parent) == source else set())
        return {name for name in names if name.startswith(".") or name in unwanted}

    shutil.copyfile(source / "bootstrap", folder / "bootstrap")
    # Contents alone: modes differ between file systems, and data need not be executable.
    shutil.copytree(source, folder / "handler", ignore=left_out, copy_function=shutil.copyfile)
    shutil.copyfile(bot, folder / "handler" / "bot.py")


def compile_sources(folder: Path, target: Target, bot_file: Path | None) -> None:
    """Compile the package's handler/; a syntax error there is the user's to mend."""
    python = find_python(target.python)
    if python is None:
        return
    errors = compile_folder(folder, python, f"{FOLDER_AT_RUN_TIME}/handler")
    if errors:
        file, _, rest = errors[0].partition(":")
        shown = bot_file if bot_file and file == "bot.py" else f"handler/{file}"
        raise PackageError(f"{shown}:{rest}")


def compile_folder(folder: Path, python: Path, folder_at_run_time: str) -> list[str]:
    """Give each module its .pyc; the result has a line `path:line: message` for each that fails."""
    command: list[str | Path] = [
        # Which column of a line an error came from is a fifth of a .pyc, and no log shows it.
        python, "-SsP", "-X", "no_debug_ranges", "-W", "ignore", COMPILER, folder_at_run_time,
    ]  # fmt: skip
    compiled = subprocess.run(
        command,
        cwd=folder,
        env=environment_for_tools(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return compiled.stdout.splitlines()
