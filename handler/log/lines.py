"""One JSON object a line on stdout, as Lambda's JSON log format wants them.

Source: AWS, "Configuring JSON and plain text log formats": a line needs `timestamp` (RFC 3339)
and `level`, or Lambda takes it for INFO, whatever it is.
"""

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from handler.log import output

# Lambda's names, the gravest first, and the lowest of Python's numbers that each stands for.
LEVELS = {
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.NOTSET,
}


request_id = output.request_id


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
        output.write_line(text)
