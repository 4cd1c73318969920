"""A bot's folder as a test needs it, and the package of it."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target


def write_folder(folder: Path, files: Mapping[str, str]) -> Path:
    """`files`: contents by the path below the folder."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def remove_output(folder: Path) -> None:
    """Remove what commands have kept of a test's folder in the checkout's build/."""
    bot = BotFolder.without_bot(str(folder))
    assert not bot.is_default
    shutil.rmtree(bot.output, ignore_errors=True)


def build_folder(folder: Path, files: Mapping[str, str]) -> Path:
    """Write `files` into `folder`/bot and build `folder`/package of it, for this machine."""
    bot = write_folder(folder / "bot", files)
    return build(BotFolder.at(str(bot)), Target.here(), folder / "package")
