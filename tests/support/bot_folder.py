"""A bot's folder as a test needs it, and the package of it."""

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


def build_folder(folder: Path, files: Mapping[str, str]) -> Path:
    """Write `files` into `folder`/bot and build `folder`/package of it, for this machine."""
    bot = write_folder(folder / "bot", files)
    return build(BotFolder.at(str(bot)), Target.here(), folder / "package")
