"""The folder that a bot is written in: which one a command means, and what of it ships."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from infra.package.shipped import Shipped, shipped, ships
from infra.package.target import PackageError
from infra.toolchain.folders import BUILD, ROOT

DEFAULT = ROOT / "bot"
BOT_FILE = "bot.py"


@dataclass(frozen=True)
class BotFolder:
    """The folder `path`, and `bot_file`, which replaces its `bot.py`. Both are absolute.

    `at` finds both, as a user writes them:

        bot = BotFolder.at("../my-bot")
        bot.shipped().files  # {"bot.py": Path("/home/me/my-bot/bot.py"), …}
    """

    path: Path
    bot_file: Path | None = None

    @classmethod
    def at(
        cls, bot_dir: str | None = None, bot_file: str | None = None, caller: str | None = None
    ) -> Self:
        """The bot in `bot_dir`, by default the checkout's `bot/`, with `bot_file` as its `bot.py`.

        `bot_dir` is relative to `caller`, by default the working directory. `bot_file` is looked
        for in `caller`, then in the folder. Raises PackageError where either doesn't exist.
        """
        path = cls.without_bot(bot_dir, caller).path
        name = os.path.expanduser(bot_file or BOT_FILE)
        folders = [Path(caller or ""), path] if bot_file else [path]
        places = [Path(os.path.abspath(folder / name)) for folder in folders]
        found = next((place for place in places if os.path.isfile(place)), None)
        if found is None:
            raise _missing(places[-1])
        if found.resolve().suffix != ".py":
            raise PackageError(f"{bot_file} isn't a .py file: give BOT_FILE=<the bot's module>")
        return cls(path, found if bot_file else None)

    @classmethod
    def without_bot(cls, bot_dir: str | None = None, caller: str | None = None) -> Self:
        """For what needs the folder alone: there may be no `bot.py` in it. Raises PackageError."""
        given = Path(caller or "", os.path.expanduser(bot_dir)) if bot_dir else DEFAULT
        # By its spelling, links left alone: the name is what a stack is named after.
        path = Path(os.path.abspath(given))
        if not os.path.isdir(path):
            raise PackageError(f"{bot_dir or path} isn't a folder: give BOT_DIR=<the bot's folder>")
        return cls(path)

    @property
    def is_default(self) -> bool:
        """Whether it is the checkout's own `bot/`."""
        return self.path.resolve() == DEFAULT

    @property
    def output(self) -> Path:
        """Where its packages are kept: a folder of its own, so that two commands at once never
        mix two bots."""
        if self.is_default and not self.bot_file:
            return BUILD
        places = f"{self.path.resolve()}\0{self.bot_file.resolve() if self.bot_file else ''}"
        name = re.sub(r"[^\w.-]+", "-", (self.bot_file or self.path).stem, flags=re.ASCII)
        return BUILD / "bots" / f"{name}-{hashlib.sha256(places.encode()).hexdigest()[:8]}"

    @property
    def file(self) -> Path:
        """The module that defines the bot."""
        return self.bot_file or self.path / BOT_FILE

    def shipped(self) -> Shipped:
        """The files that the package gets. Raises PackageError, and OSError."""
        # While the bot runs, either may go away.
        if not self.path.is_dir():
            raise PackageError(f"{self.path} is gone: put it back, and start again")
        if not os.path.lexists(self.file):
            raise _missing(self.file)
        found = shipped(self.path)
        if self.bot_file:
            found.files[BOT_FILE] = self.bot_file
        if BOT_FILE not in found.files:
            raise PackageError(
                f"{self.file} leads to a file that doesn't ship: put the file itself there"
            )
        return found

    def ships(self, path: Path) -> bool:
        """Whether a change of `path` changes the package: what a running bot is reloaded for."""
        return path == self.bot_file or ships(self.path, path)


def _missing(file: Path) -> PackageError:
    if os.path.isdir(file):  # a name that is too long isn't a folder either
        return PackageError(f"{file} is a folder: define the bot in a file, as `bot = MyBot()`")
    return PackageError(f"{file} doesn't exist: define the bot there, as `bot = MyBot()`")
