"""What the log has of an exception: its type and its place; and of an event loop that is stuck, its
place. An exception's text can be a key or a message, but for the one kind whose text is the host's
own."""

import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from handler import log
from handler.log.output import request_id
from handler.log.places import ROOT, is_of_bot, place

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
    return _places(traceback.walk_tb(error.__traceback__))


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


class Stuck:
    """Where the main thread's event loop is stuck, as another thread sees it.

    frames      of what the loop has called, the outermost first; empty while it has called nothing
    request_id  of the request that this belongs to, if to any
    """

    def __init__(self) -> None:
        from asyncio import Handle  # it is there by now, and the secret's reader needs none

        call = Handle._run.__code__  # what calls a callback, or goes on with a task
        inner, self.frames, self.request_id = list[FrameType](), list[FrameType](), ""
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        while frame and frame.f_code is not call:
            inner.append(frame)
            frame = frame.f_back
        if frame:
            self.frames = inner[::-1]
            context = getattr(frame.f_locals.get("self"), "_context", None)
            self.request_id = context.get(request_id, "") if context else ""

    @property
    def place(self) -> str:
        """Of the innermost of the bot's frames, or of any if none is the bot's; or empty."""
        bots = [each for each in self.frames if is_of_bot(each.f_code.co_filename)]
        return "".join(_places(_now((bots or self.frames)[-1:])))

    @property
    def at(self) -> str:
        """Its place, for the middle of a sentence."""
        return f" at {self.place}" if self.place else ""

    @property
    def fields(self) -> dict[str, Any]:
        """The members of a line about it; with `log.shows_texts` the lines of code, too."""
        fields: dict[str, Any] = {"stackTrace": _places(_now(self.frames))}
        if log.shows_texts:
            last = self.frames[-MOST_FRAMES:]
            text = "".join(traceback.StackSummary.extract(_now(last)).format())
            fields["traceback"] = below_package(text).rstrip()
        return fields


def _now(frames: Iterable[FrameType]) -> Iterator[tuple[FrameType, int]]:
    return ((frame, frame.f_lineno) for frame in frames)


def _places(frames: Iterable[tuple[FrameType, int]]) -> tuple[str, ...]:
    """A line of text for each of the last `frames`."""
    places = (
        f"{place(frame.f_code.co_filename)}:{number} in {frame.f_code.co_name}"
        for frame, number in frames
        if not frame.f_code.co_filename.startswith("<frozen")  # importlib's own
    )
    return tuple(deque(places, maxlen=MOST_FRAMES))
