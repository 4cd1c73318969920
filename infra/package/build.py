"""Builds the package for Lambda: for `make package`, `make run`, `cdk synth` and the tests alike.

    build/package-<python>-<arch>/
        bootstrap        the wrapper, mode 755
        handler/         the host's code
        bot/             the bot's folder
        certificates/    the authorities of certifi, one by one
        fastapi_poe/ …   every library

No Docker: uv picks the wheels for the target, wherever it runs. The same sources, requirements and
release of Python give the same bytes, modes and times: what did not change is not deployed again.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from infra.package.bot_folder import BotFolder
from infra.package.host import compiled_host
from infra.package.libraries import FOLDER_AT_RUN_TIME, compile_folder, install_libraries
from infra.package.lock.lock import locked
from infra.package.module_names import check_names
from infra.package.shipped import Shipped
from infra.package.size import check_size
from infra.package.target import PackageError, Target
from infra.package.unused_tests import named_tests
from infra.toolchain.errors import FULL_DISK, tells_of_full_disk
from infra.toolchain.folders import (
    BUILD,
    ROOT,
    copy_contents,
    fix_entry,
    fix_modes_and_times,
    link_or_copy,
    made_aside,
)
from infra.toolchain.pythons import find_python

HANDLER = ROOT / "handler"


def build(
    bot: BotFolder,
    target: Target,
    output: Path,
    *,
    cache: Path = BUILD / "libraries",
    host: Path = HANDLER,
    deployable: bool = True,
) -> Path:
    """Build the package of a bot. What was at `output` stays whole until the new one is complete.

        build(BotFolder.at("../my-bot"), Target.on_lambda(), Path("build/package"))

    bot          the bot's folder
    target       the Python and the processor that it is for
    output       the package's folder, which is also the result
    cache        where installed libraries are kept for the next time
    host         what becomes handler/ in the package
    deployable   whether a package that is too large for Lambda is refused, or reported

    Warnings go to stderr. Raises PackageError.
    """
    try:
        lock = locked(bot, host=host)
        named = named_tests(bot.shipped().files)
        libraries = install_libraries(lock, target, cache, named)
        shipped = bot.shipped()  # now: a lock can take long enough for edits
        for taken in ("handler", "bot"):
            if (libraries / taken).exists():
                raise PackageError(
                    f"a library has a module `{taken}`, as the package has: remove that library"
                )
        warn(shipped, libraries)
        with made_aside(output) as folder:
            for part in (libraries, compiled_host(host, libraries, find_python(target.python))):
                shutil.copytree(part, folder, dirs_exist_ok=True, copy_function=link_or_copy)
            add_bot(shipped, folder / "bot")
            compile_bot(shipped, folder / "bot", target)
            fix_modes_and_times(folder / "bot")
            fix_entry(folder, 0o755)
            check_size(folder, deployable=deployable)
    except (OSError, subprocess.CalledProcessError, PackageError) as error:
        if tells_of_full_disk(str(error)):
            raise PackageError(FULL_DISK) from error
        if isinstance(error, PackageError):
            raise
        raise PackageError(f"the package can't be built: {reason(error)}") from error
    return output


def reason(error: Exception) -> str:
    """One line; shutil.Error holds a (source, copy, reason) for every file of the tree."""
    return str(error.args[0][0][2] if isinstance(error, shutil.Error) else error)


def warn(shipped: Shipped, libraries: Path) -> None:
    """Raises PackageError."""
    links = [
        f"{link} is a link to something that doesn't ship: it's left out"
        for link in shipped.stray_links
    ]
    for line in links + check_names(shipped.files, libraries):
        print(f"warning: {line}", file=sys.stderr)


def add_bot(shipped: Shipped, folder: Path) -> None:
    for name, file in shipped.files.items():
        copy_contents(file, folder / name)
        if file.stat().st_mode & 0o100:  # a program that the bot starts
            (folder / name).chmod(0o755)


def compile_bot(shipped: Shipped, folder: Path, target: Target) -> None:
    """Raises PackageError where the bot's own code has an error."""
    python = find_python(target.python)
    if python is None:
        return
    for error in compile_folder(folder, python, f"{FOLDER_AT_RUN_TIME}/bot"):
        if place := re.fullmatch(r"(.+?\.py)(:\d+: .*)", error):
            raise PackageError(shown(shipped.files[place[1]]) + place[2])


def shown(file: Path) -> str:
    """Short below the working directory; whole elsewhere, where the user may stand."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
