"""What is logged through Python's `logging`, as lines: the bot's and the host's whole, a library's
from WARNING on and without what it may quote."""

import logging
import sys
from types import FrameType
from typing import Any

from handler.log import lines, others
from handler.log.errors import error_fields
from handler.log.lines import LEVELS
from handler.log.places import author_of, is_of_bot, is_of_host, place

# fastapi_poe logs under uvicorn's name, whose own handler prints exceptions with their text.
FASTAPI_POE = "uvicorn.default"
_SEEN = "_is_written"  # on a record


class Handler(logging.Handler):
    """Writes each record as a line, by who logs it."""

    def handle(self, record: logging.LogRecord) -> bool:
        # Without logging's lock: a thread that is stuck in a bot's `__str__` would hold it, and
        # with it the watchdog.
        if self.filter(record):
            write(record, author_of(sys._getframe(1))[0])
        return True


HANDLER = Handler()


def write(record: logging.LogRecord, author: FrameType | None) -> None:
    """Write `record` unless it is a library's below WARNING, or is written already. `author`: who
    logs it, None where that can't be seen, in a thread that handles others' records."""
    if record.__dict__.setdefault(_SEEN, False):
        return
    record.__dict__[_SEEN] = True
    if is_own(record, author):
        error = record.exc_info[1] if record.exc_info else None
        fields = {"message": _message(record), **error_fields(error)}
    elif record.levelno >= logging.WARNING:
        fields = others.logged(record, author)
    else:
        return
    lines.write(_level(record.levelno), {"logger": record.name, **fields}, now=record.created)


def taken(record: logging.LogRecord, author: FrameType | None) -> bool:
    """Whether a record that a handler of the bot's prints isn't the bot's: then it is written
    here, as if that handler weren't there."""
    file = _file(record, author)
    if is_of_bot(file):
        return False
    write(record, author)
    return True


def is_own(record: logging.LogRecord, author: FrameType | None) -> bool:
    """The bot's or the host's: by the file that logs, whatever the logger's name. Not by the
    record's own path, which a library's `stacklevel` points at its caller."""
    file = _file(record, author)
    return is_of_bot(file) or is_of_host(file)


def _file(record: logging.LogRecord, author: FrameType | None) -> str:
    """Where the record comes from."""
    if author:
        return author.f_code.co_filename
    # In a listener's thread. Most libraries name their loggers after their modules: one that points
    # at its caller is still known by it.
    module = sys.modules.get(record.name.partition(".")[0])
    named = getattr(module, "__file__", None)
    return named if named and is_of_bot(record.pathname) else record.pathname


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # logging's own way out prints the arguments, which can be anything.
        return f"a message that cannot be formatted: {place(record.pathname)}:{record.lineno}"


def _level(number: int) -> str:
    return next((name for name, lowest in LEVELS.items() if number >= lowest), "TRACE")


def configure(level: str) -> None:
    """Log at Lambda's `level` or above what the bot's and the host's files write; everything
    else at WARNING or above, since httpx logs keys in URLs and botocore logs secrets."""
    root = logging.getLogger()
    root.handlers = [HANDLER]
    root.setLevel(LEVELS.get(level.upper(), logging.INFO))
    _claim(FASTAPI_POE)


def keep() -> None:
    """Keep the host's lines coming however the bot has changed logging at its import, with
    `basicConfig(force=True)` or `dictConfig` for example. What it has set up for itself stays."""
    if HANDLER not in logging.getLogger().handlers:
        _claim("handler")
    for name, logger in logging.getLogger().manager.loggerDict.items():
        if name == FASTAPI_POE or name.partition(".")[0] == "handler":
            logger.disabled = False  # type: ignore[union-attr]


def _claim(name: str) -> None:
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [HANDLER], False


def share_with_server() -> None:
    """Leave a server's own lines below WARNING, such as uvicorn's that it is ready, to the handlers
    that it has set up by now; the rest of them quotes exceptions, and is written here."""
    for logger in logging.getLogger().manager.loggerDict.values():
        for handler in getattr(logger, "handlers", ()):
            if handler is not HANDLER:
                handler.addFilter(lambda record: record.levelno < logging.WARNING)
                _add(logger)


def _add(logger: Any) -> None:
    if HANDLER not in logger.handlers:
        logger.addHandler(HANDLER)
