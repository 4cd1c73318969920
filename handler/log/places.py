"""Where the package lies, which of its files are the bot's own, and whose text is being written."""

import builtins
import os
from inspect import CO_COROUTINE
from logging import Filterer, LoggerAdapter, LogRecord
from pathlib import Path
from types import FrameType

ROOT = str(Path(__file__).parents[2])
BOT = os.path.join(ROOT, "bot")
BOTS_OWN = "bot/"  # how a place of the bot's begins

_BOTS_FILES = BOT + os.sep
_HOSTS_FILES = os.path.join(ROOT, "handler") + os.sep
_RECORDS = os.path.join(ROOT, "handler", "log", "records.py")  # asks a bot's filters, too

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

# Of those, the ones that call the bot's handlers, filters and sinks with anyone's records.
LOGGERS = frozenset({"aws_lambda_powertools", "logging", "loguru", "structlog"})
STREAMS_METHODS = frozenset({"flush", "write", "writelines"})


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
        if is_of_bot(frame.f_code.co_filename):
            outermost = _outermost_of_bot(frame)
            if not _writes_for_its_caller(outermost):
                break
            frame = outermost
        elif frame.f_code.co_filename == _RECORDS:
            pass
        elif (module := _module(frame)) not in WRITES_FOR_CALLERS:
            break
        elif module == "logging" and isinstance(found := frame.f_locals.get("record"), LogRecord):
            record = found
        frame = frame.f_back
    return frame, record


def _outermost_of_bot(frame: FrameType) -> FrameType:
    """The last of the bot's frames above `frame` without another's in between."""
    while (caller := frame.f_back) and is_of_bot(caller.f_code.co_filename):
        frame = caller
    return frame


def _writes_for_its_caller(frame: FrameType) -> bool:
    """Whether the bot's function got another's text to write: as a log's handler, filter or sink,
    as a method of a stream in place of `sys.stdout`, or in place of `print`."""
    if frame.f_back and _module(frame.f_back) in LOGGERS:
        return True
    code = frame.f_code
    if code.co_varnames[:1] != ("self",) or code.co_flags & CO_COROUTINE:
        return code is getattr(builtins.print, "__code__", None)
    is_of_log = isinstance(frame.f_locals.get("self"), (Filterer, LoggerAdapter))
    return is_of_log or code.co_name in STREAMS_METHODS


def _module(frame: FrameType) -> str:
    """Its outermost package."""
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def place_of(frame: FrameType) -> str:
    """File and line, as people read them."""
    return f"{place(frame.f_code.co_filename)}:{frame.f_lineno}"
