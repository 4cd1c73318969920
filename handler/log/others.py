"""What libraries print, warn of and log: where they did, and the parts that can't be a secret.

A text that a library writes may quote a key or a user's message. What is a constant of the code
that writes it can't: so much of it is quoted. `BOT_DEBUG=1` shows the rest.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from types import FrameType
from typing import Any

from handler import log
from handler.log import lines
from handler.log.errors import error_fields
from handler.log.places import is_of_bot, place

LEFT_OUT = "left out, since they may quote a key or a message"
MEMORY = 60  # seconds for which the prints of a place are counted together
DEEPEST = 12  # callers whose constants are looked at
SHORTEST = 4  # characters of a constant that is worth quoting
# The messages of asyncio's compiled half, whose constants can't be inspected.
COMPILED = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending!",
)

logger = logging.getLogger(__name__)


class Prints:
    """How often each place has written: a chatty library has a line for its first print of an
    invocation, its second, fourth, eighth…"""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._since = 0.0  # seconds, of time.monotonic

    def worth_a_line(self, place: str) -> int:
        """How often `place` has written in this invocation, or 0 if that needs no line."""
        now = time.monotonic()
        if now - self._since > MEMORY:
            self._counts.clear()
            self._since = now
        key = (lines.request_id.get(), place)
        self._counts[key] += 1
        times = self._counts[key]
        return 0 if times & (times - 1) else times


_prints = Prints()


def printed(place: str, stream: str, text: str, error: BaseException | None) -> None:
    """Log that code at `place` has written `text` to `stream`, while it handled `error`."""
    if not text.strip() or not logger.isEnabledFor(logging.WARNING):
        return
    fields = error_fields(error)
    if log.shows_texts:
        message = f"{place}: {text.strip()}"
        fields.pop("traceback", None)  # a library prints what it wants to be seen of it
    elif times := _prints.worth_a_line(place):
        by_now = f", {times} times by now" if times > 1 else ""
        message = f"{place} wrote {len(text)} characters to {stream}{by_now}: {LEFT_OUT}"
    else:
        return
    lines.write("WARN", {"message": message, "place": place, **fields})


def warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    """Log a warning: the signature is `warnings.showwarning`'s. Its text is left out even where
    the place is the bot's: compiled libraries and `stacklevel` put theirs there."""
    if logger.isEnabledFor(logging.WARNING):
        where = f"{place(filename)}:{lineno}"
        text = f": {message}" if log.shows_texts else ""
        lines.write("WARN", {"message": f"{category.__name__} at {where}{text}", "place": where})


def logged(record: logging.LogRecord, author: FrameType | None) -> dict[str, Any]:
    """The members of the line for a library's log record."""
    where = f"{place(record.pathname)}:{record.lineno}"
    error = record.exc_info[1] if record.exc_info else None
    if error is None and isinstance(record.msg, BaseException):
        error = record.msg
    text = _whole(record) if log.shows_texts else _constant_part(record.msg, author)
    if not text:
        size = f"{len(record.msg)} characters" if isinstance(record.msg, str) else "an object"
        text = f"{where} logged {size}: {LEFT_OUT}"
    return {"message": text, "place": where, **error_fields(error)}


def _whole(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().strip()
    except Exception:
        return ""


def _constant_part(message: object, author: FrameType | None) -> str:
    """As much of a message's beginning as is a constant of the code that logs it: a template with
    its %s, the words ahead of an f-string's first value, or nothing."""
    if not isinstance(message, str):
        return ""
    begins = (each for each in (*COMPILED, *_constants(author)) if message.startswith(each))
    text = max(begins, key=len, default="").strip()
    if len(text) < SHORTEST:
        return ""
    return text if text == message.strip().partition("\n")[0] else f"{text} …"


def _constants(frame: FrameType | None) -> Iterator[str]:
    """The strings in the code of a library and of its callers, down to the bot: that may have a
    key among its own."""
    for code in islice(_codes(frame), DEEPEST):
        for constant in code.co_consts:
            if isinstance(constant, str):
                yield constant
                yield constant.partition("{")[0]  # ahead of a value of str.format
                yield constant.partition("%")[0]


def _codes(frame: FrameType | None) -> Iterator[Any]:
    while frame and not is_of_bot(frame.f_code.co_filename):
        if not frame.f_code.co_filename.startswith("<"):  # made of a text as the process runs
            yield frame.f_code
        frame = frame.f_back
