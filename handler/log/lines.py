"""One JSON object a line on stdout, as Lambda's JSON log format wants them.

Source: AWS, "Configuring JSON and plain text log formats": a line needs `timestamp` (RFC 3339)
and `level`, or Lambda takes it for INFO, whatever it is.
"""

import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from handler.log.places import is_of_bot, place

# Lambda's names, the gravest first, and the lowest of Python's numbers that each stands for.
LEVELS = {
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.NOTSET,
}
MOST_FRAMES = 50  # of a stack: an endless recursion has a thousand

request_id: ContextVar[str] = ContextVar("request_id", default="")


def write(level: str, fields: Mapping[str, Any], *, now: float | None = None) -> None:
    """Write one line. `fields`: JSON values; `now`: seconds since the epoch."""
    now = time.time() if now is None else now
    seconds, milliseconds = divmod(int(now * 1000), 1000)
    timestamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    line = {
        "timestamp": f"{timestamp}.{milliseconds:03d}Z",
        "level": level,
        "requestId": request_id.get(),
        **fields,
    }
    # ASCII, so that no encoding and no lone surrogate matters; one write for line and end, so
    # that lines of several threads don't mingle.
    text = json.dumps(line) + "\n"
    with suppress(OSError, ValueError):  # a closed stdout: a lost line must not cost an answer
        sys.stdout.write(text)


def configure(level: str) -> None:
    """Log at Lambda's `level` or above what the bot's files and ours say; everything else at
    WARNING or above, since httpx logs keys in URLs and botocore logs secrets."""
    root = logging.getLogger()
    root.handlers = [_Handler()]
    root.setLevel(LEVELS.get(level.upper(), logging.INFO))
    # fastapi_poe logs under uvicorn's name, whose own handler prints exceptions with their text.
    fastapi_poe = logging.getLogger("uvicorn.default")
    fastapi_poe.handlers, fastapi_poe.propagate = root.handlers, False
    _take_over_what_python_prints()


def _take_over_what_python_prints() -> None:
    """What nobody catches is logged, too: Python would print it with its text."""
    logger = logging.getLogger("handler")

    def uncaught(error: BaseException | None, where: str) -> None:
        logger.error("an uncaught exception in %s", where, exc_info=error)

    sys.excepthook = lambda kind, error, traceback: uncaught(error, "the main thread")
    threading.excepthook = lambda thrown: uncaught(thrown.exc_value, "a thread")
    sys.unraisablehook = lambda thrown: uncaught(thrown.exc_value, "a clean-up")


class _Handler(logging.Handler):
    def filter(self, record: logging.LogRecord) -> bool:
        return _is_ours(record) or record.levelno >= logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name, "message": _message(record), **_error_fields(record)}
        write(_level(record.levelno), fields, now=record.created)


def _is_ours(record: logging.LogRecord) -> bool:
    """Ours or the bot's: the bot's by the file that logs, whatever it calls its loggers."""
    return record.name.partition(".")[0] == "handler" or is_of_bot(record.pathname)


def _level(number: int) -> str:
    return next((name for name, lowest in LEVELS.items() if number >= lowest), "TRACE")


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:
        # logging's own way out prints the arguments, which can be anything.
        return f"a message that cannot be formatted: {place(record.pathname)}:{record.lineno}"
    if _is_ours(record):
        return message
    # asyncio's further lines hold the repr of an exception, and fastapi_poe writes a whole report
    # after a colon: either can be a user's text or a key.
    return message.strip().partition("\n")[0].partition(":")[0]


def _error_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Type and place of an exception. Not its text: that can be a key or a user's message."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    return {"errorType": type(error).__name__, "stackTrace": stack_of(error)}


def stack_of(error: BaseException) -> tuple[str, ...]:
    """Where `error` was raised, a line of text each: file (of the package: its path there), line
    number, function. The innermost comes last, and is there however deep the stack."""
    return tuple(deque(_frames(error.__traceback__), maxlen=MOST_FRAMES))


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith("<frozen"):  # importlib's own
            yield f"{place(code.co_filename)}:{traceback.tb_lineno} in {code.co_name}"
        traceback = traceback.tb_next
