"""One JSON object a line on stdout, as Lambda's JSON log format wants them.

Source: AWS, "Configuring JSON and plain text log formats": a line needs `timestamp` (RFC 3339)
and `level`, or Lambda takes it for INFO, whatever it is.
"""

import json
import logging
import sys
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any

LEVELS = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}  # Lambda's names → Python's
LEVEL_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}

request_id: ContextVar[str] = ContextVar("request_id", default="")


def write(level: str, fields: Mapping[str, Any], *, now: float | None = None) -> None:
    """Write one line. `now`: seconds since the epoch."""
    now = time.time() if now is None else now
    seconds, milliseconds = divmod(int(now * 1000), 1000)
    timestamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    line = {
        "timestamp": f"{timestamp}.{milliseconds:03d}Z",
        "level": level,
        "requestId": request_id.get(),
        **fields,
    }
    # One write for line and end, so that lines of several threads don't mingle.
    sys.stdout.write(json.dumps(line, default=str) + "\n")


def configure(level: str) -> None:
    """Log at Lambda's `level` or above: the bot's modules and the root logger; everything else at
    WARNING or above, since httpx logs keys in URLs and botocore logs secrets."""
    name = LEVELS.get(level.upper(), level.upper())
    root = logging.getLogger()
    root.handlers = [_Handler()]
    root.setLevel(name if name in logging.getLevelNamesMapping() else "INFO")


class _Handler(logging.Handler):
    def filter(self, record: logging.LogRecord) -> bool:
        ours = record.name == "root" or record.name.partition(".")[0] == "handler"
        return ours or record.levelno >= logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = LEVEL_NAMES.get(record.levelname, record.levelname)
            fields = {"logger": record.name, "message": record.getMessage()}
            write(level, {**fields, **_error_fields(record)}, now=record.created)
        except Exception:
            self.handleError(record)


def _error_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Type and place of an exception. Not its text: that can be a key or a user's message."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    return {"errorType": type(error).__name__, "stackTrace": stack_of(error)}


def stack_of(error: BaseException) -> tuple[str, ...]:
    """Where `error` was raised, a line of text each: file, line number, function."""
    return tuple(_frames(error.__traceback__))


def _frames(traceback: TracebackType | None) -> Iterable[str]:
    while traceback:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith("<frozen"):  # importlib's own
            yield f"{code.co_filename}:{traceback.tb_lineno} in {code.co_name}"
        traceback = traceback.tb_next
