"""The bot's lock: written from its requirements and the host's own pins, when either changed.

`requirements.lock` lies next to `requirements.txt`, and belongs in the bot's repository. A folder
that can't be written has its lock in build/locks/. A bot without requirements gets the host's lock.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.package.bot_folder import BotFolder
from infra.package.lock.file import OLDEST_PYTHON, Head, digest, read_head, without_comments
from infra.package.lock.requirements import Requirements, read_requirements
from infra.toolchain.folders import BUILD, ROOT

HOST = ROOT / "handler"
RECIPE = 1  # changes when the same inputs should give another lock


@dataclass(frozen=True)
class Lock:
    """What to install: a file of pins and hashes, and which of them are built from sources."""

    file: Path
    built_here: tuple[str, ...] = ()


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def locked(
    bot: BotFolder,
    *,
    again: bool = False,
    upgrade: str | None = None,
    say: Callable[[str], object] = to_stderr,
    host: Path = HOST,
    locks: Path = BUILD / "locks",
) -> Lock:
    """The lock of `bot`, written unless there is one for its requirements and the host's pins.

    `again` writes it in any case; `upgrade` too, with the newest versions: of everything ("1"), or
    of the libraries that it names. `say` gets a line for each lock that is written, and warnings.
    `host` is laid out as handler/; `locks` is for folders that can't be written. Raises
    PackageError.

        locked(BotFolder.at("../my-bot"), upgrade="openai").file
    """
    requirements = read_requirements(bot.path)
    if requirements is None:
        return Lock(host / "requirements.txt")
    wanted = _inputs(requirements, host)
    places = [bot.path / "requirements.lock", _place_elsewhere(bot, locks)]
    for place in places:
        head = read_head(place)
        if head and head.same_inputs(wanted) and not (again or upgrade):
            return Lock(place, head.built_here)
    # Imported here: a start with an unchanged lock doesn't pay for it.
    from infra.package.lock.new import make_lock

    place, built_here = make_lock(requirements, wanted, places, host, upgrade=upgrade, say=say)
    return Lock(place, built_here)


def _inputs(requirements: Requirements, host: Path) -> Head:
    asked = (requirements.lines, requirements.constraints, requirements.indexes)
    pins = [without_comments(host / name) for name in ("requirements.in", "uv.toml")]
    return Head(digest(RECIPE, OLDEST_PYTHON, *asked), digest(RECIPE, *pins))


def _place_elsewhere(bot: BotFolder, locks: Path) -> Path:
    """One for each folder, whatever its name: two bots must never share a lock."""
    path = hashlib.sha256(os.fsencode(bot.path)).hexdigest()[:8]
    return locks / f"{bot.path.name}-{path}" / "requirements.lock"
