"""Builds the package for Lambda: for `make package`, `make run`, `cdk synth` and the tests alike.

    build/package-<python>-<arch>/
        bootstrap        the wrapper, mode 755
        handler/         the sources, with the bot
        certificates/    the authorities of certifi, one by one
        fastapi_poe/ …   every library of handler/requirements.txt

No Docker: uv picks the wheels for the target, wherever it runs. The same sources, requirements and
release of Python give the same bytes, modes and times: what did not change is not deployed anew.
"""

import shutil
import subprocess
from pathlib import Path

from infra.package.libraries import FOLDER_AT_RUN_TIME, compile_folder, install_libraries
from infra.package.target import PackageError, Target
from infra.toolchain.folders import (
    BUILD,
    fix_entry,
    fix_modes_and_times,
    link_or_copy,
    made_aside,
)
from infra.toolchain.pythons import find_python

# In handler/, but not of the package. Hidden files (.env, .DS_Store) stay out too.
BUILD_FILES = {"bootstrap", "excludes.txt", "requirements.in", "requirements.txt"}
NEVER_SHIPPED = {"__pycache__", "tests"}


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
