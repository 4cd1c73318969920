"""The folder that a bot is written in: which one a command means, and what of it ships."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from infra.package.shipped import Shipped, shipped, ships
from infra.package.target import PackageError
from infra.toolchain.folders import ROOT

DEFAULT = ROOT / "bot"
BOT_FILE = "bot.py"


@dataclass(frozen=True)
class BotFolder:
    """`path` is absolute. `bot_file`, absolute too, takes the place of its `bot.py`."""

    path: Path
    bot_file: Path | None = None

    @classmethod
    def at(cls, bot_dir: str | None = None, bot_file: str | None = None) -> Self:
        """`bot_dir` is relative to the working directory, by default the checkout's `bot/`.
        `bot_file` is looked for in the working directory, then in the folder.

        Raises PackageError where there is no such folder or file.
        """
        # By its spelling, links left alone: the name is what a stack is named after.
        path = Path(os.path.abspath(bot_dir)) if bot_dir else DEFAULT
        if not path.is_dir():
            raise PackageError(f"{bot_dir or path} isn't a folder: give BOT_DIR=<the bot's folder>")
        places = [Path(bot_file), path / bot_file] if bot_file else [path / BOT_FILE]
        found = next((place.absolute() for place in places if place.is_file()), None)
        if found is None:
            raise PackageError(
                f"{places[-1]} isn't there: it has to define the bot, as `bot = MyBot()`"
            )
        if found.resolve().suffix != ".py":
            raise PackageError(f"{bot_file} isn't a .py file: give BOT_FILE=<the bot's module>")
        return cls(path, found if bot_file else None)

    @property
    def file(self) -> Path:
        """The module that defines the bot."""
        return self.bot_file or self.path / BOT_FILE

    def shipped(self) -> Shipped:
        """The files that the package gets. Raises PackageError, and OSError."""
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
