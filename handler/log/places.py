"""Where the package lies, and which of its files are the bot's own."""

import os
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
BOT = os.path.join(ROOT, "bot")
BOTS_OWN = "bot/"  # how a place of the bot's begins

_BOTS_FILES = BOT + os.sep
_HOSTS_FILES = os.path.join(ROOT, "handler") + os.sep


def place(file: str) -> str:
    """`file` as people read it: without the folder that holds the whole package."""
    return file.removeprefix(ROOT + os.sep)


def is_of_bot(file: str) -> bool:
    return file.startswith(_BOTS_FILES)


def is_of_host(file: str) -> bool:
    return file.startswith(_HOSTS_FILES)
