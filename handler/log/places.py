"""Where the package lies, and which of its files are the bot's own."""

import os
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
BOT = os.path.join(ROOT, "bot")
BOTS_OWN = "bot/"  # how a place of the bot's begins


def place(file: str) -> str:
    """`file` as people read it: without the folder that holds the whole package."""
    return file.removeprefix(ROOT + os.sep)


def is_of_bot(file: str) -> bool:
    return place(file).startswith(BOTS_OWN)
