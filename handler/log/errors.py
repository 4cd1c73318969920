"""What the log has of an exception: its type and its place. Its text can be a key or a message, but
for the one kind whose text is the host's own."""

import traceback
from collections import deque
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from handler import log
from handler.log.places import ROOT, place

MOST_FRAMES = 50  # of a stack: an endless recursion has a thousand


class StartError(Exception):
    """Keeps the host from starting. Its text states what is wrong and what to do, and may be shown:
    it holds no key, no secret's member and no message."""


def error_fields(error: BaseException | None) -> dict[str, Any]:
    """The members of a line about `error`; with `log.shows_texts` its whole traceback, too."""
    if error is None:
        return {}
    fields = {"errorType": type(error).__name__, "stackTrace": stack_of(error)}
    return fields | {"traceback": traceback_of(error)} if log.shows_texts else fields


def stack_of(error: BaseException) -> tuple[str, ...]:
    """Where `error` was raised, a line of text each: file (of the package: its path there), line
    number, function. The innermost comes last, and is there however deep the stack."""
    return tuple(deque(_frames(error.__traceback__), maxlen=MOST_FRAMES))


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """The frames that `error` came through, the outermost first."""
    trace = error.__traceback__
    while trace:
        yield trace.tb_frame
        trace = trace.tb_next


def traceback_of(error: BaseException) -> str:
    """As Python prints it, with texts, causes and groups; files of the package by their path
    there."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as broken:  # a __str__ or a __notes__ of the error's own
        text = f"{type(error).__name__}, whose text is unavailable: {type(broken).__name__}"
    return below_package(text).rstrip()


def below_package(text: str) -> str:
    """`text` with the files of the package by their path there."""
    return text.replace(f"{ROOT}/", "")


def _frames(trace: TracebackType | None) -> Iterator[str]:
    while trace:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<frozen"):  # importlib's own
            yield f"{place(code.co_filename)}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
