"""Where the package lies, which of its files are the bot's own, and whose text is being written."""

import os
from logging import LogRecord
from pathlib import Path
from types import FrameType

ROOT = str(Path(__file__).parents[2])
BOT = os.path.join(ROOT, "bot")
BOTS_OWN = "bot/"  # how a place of the bot's begins

_BOTS_FILES = BOT + os.sep
_HOSTS_FILES = os.path.join(ROOT, "handler") + os.sep

# Modules that write what their caller hands them, so the caller is the author. Whatever isn't
# listed is an author of its own: a module too few here costs a text, one too many could leak one.
WRITES_FOR_CALLERS = frozenset(
    {
        # Python's own
        *("argparse", "codecs", "csv", "json", "logging", "optparse", "pprint", "pstats"),
        *("shutil", "timeit", "traceback"),
        # run what they are given, in a thread that has no other author
        *("concurrent", "threading"),
        # print and format for terminals
        *("click", "colorama", "icecream", "prompt_toolkit", "rich", "termcolor", "tqdm", "typer"),
        # loggers that don't go through Python's, and Lambda's metrics on stdout
        *("aws_embedded_metrics", "aws_lambda_powertools", "loguru", "structlog"),
    }
)


def place(file: str) -> str:
    """`file` as people read it: without the folder that holds the whole package."""
    return file.removeprefix(ROOT + os.sep)


def is_of_bot(file: str) -> bool:
    return file.startswith(_BOTS_FILES)


def is_of_host(file: str) -> bool:
    return file.startswith(_HOSTS_FILES)


def author_of(frame: FrameType | None) -> tuple[FrameType | None, LogRecord | None]:
    """Who gave what `frame` writes: the nearest frame that doesn't write for its callers, or None
    at the bottom of a thread; and the log record that is being written, if one is."""
    record = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module not in WRITES_FOR_CALLERS or is_of_bot(frame.f_code.co_filename):
            break
        if module == "logging" and isinstance(found := frame.f_locals.get("record"), LogRecord):
            record = found
        frame = frame.f_back
    return frame, record


def place_of(frame: FrameType) -> str:
    """File and line, as people read them."""
    return f"{place(frame.f_code.co_filename)}:{frame.f_lineno}"
