"""stdout and stderr: what the bot writes passes as it is, what others write goes to the log.

A library that prints may print a key or a user's message: fastapi_poe does, with the `repr` of an
error. Its text goes no further; `handler.log.others` reports where there was one. What a process
writes past Python (a C library, a child process) can't be seen, and passes.
"""

import io
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from logging import LogRecord
from types import FrameType
from typing import Any, TextIO

from handler.log.places import author_of, is_of_bot, place_of

request_id: ContextVar[str] = ContextVar("request_id", default="")

PATIENCE = 1.0  # seconds for the lock: a thread that is stuck while it writes silences no other
LAST_WORDS_PATIENCE = 0.05  # the same, for code that ends the process
LARGEST = 65_536  # bytes that are kept of what a library writes without a break
# How lines of the host's begin, and Lambda's own. Those that a bot prints, such as in a stranger's
# message, get a space in front.
RESERVED = re.compile(
    rb'\{"timestamp": "[^"\n]{0,40}", "level": "[^"\n]{0,20}", "requestId": "'
    rb'|\{"time":"[^"\n]{0,40}","type":"platform\.'
    rb"|(?:START|END|REPORT) RequestId: |INIT_REPORT |RESTORE_(?:START|REPORT) "
)
HEAD = 120  # bytes, more than any of these has


# Takes what isn't the bot's: place, name of the stream, text, the error that is being handled.
Printed = Callable[[str, str, str, BaseException | None], object]
# Takes any log record that isn't the bot's: whether it did.
Taken = Callable[[LogRecord, FrameType | None], bool]


class Output(io.BufferedIOBase):
    """The bytes below `sys.stdout` or `sys.stderr`. Every way of writing leads here: `print`,
    `writelines`, `sys.stdout.buffer`, another `TextIOWrapper` around it.

    name            "stdout" or "stderr"
    stream          the original
    printed, taken  take what isn't the bot's
    by_line         whether to report a library's text as soon as a line is whole, or all in one
                    that it writes on end: a `print` can have several lines
    """

    mode = "wb"

    def __init__(
        self, name: str, stream: TextIO, printed: Printed, taken: Taken, by_line: bool
    ) -> None:
        self.name = f"<{name}>"
        self.is_unfinished = False  # whether the last line has no end yet
        self._head = b""  # how that one begins
        self._label = name
        self._stream = stream
        self._printed, self._taken, self._by_line = printed, taken, by_line
        # Of one author: the place, thread and request, what it has written, the error meanwhile.
        self._author: tuple[str, int, str] | None = None
        self._context = copy_context()
        self._kept = bytearray()
        self._error: BaseException | None = None

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        frame = sys._getframe(1)
        author, record = author_of(frame)
        if record is not None and self._taken(record, author):
            return len(piece)
        if record is not None or (author and is_of_bot(author.f_code.co_filename)):
            self.put(piece)
        else:
            with _turn():
                self._keep(piece, place_of(author or frame))
        return len(piece)

    def put(self, data: bytes) -> None:
        """Write what is the bot's as it is, at once; its lines don't pass for others'. Raises
        OSError."""
        if data:
            with _turn():
                self.settle()
                self._put(self._told_apart(data))

    def begin_line(self) -> None:
        """What comes next on this stream begins a line. Raises OSError."""
        self.settle()
        if self.is_unfinished:
            self._put(b"\n")

    def settle(self) -> None:
        """Report what a library has written until now."""
        if self._author:
            (place, _, _), text, error = (
                self._author,
                self._kept.decode(errors="replace"),
                self._error,
            )
            self._author, self._kept, self._error = None, bytearray(), None
            self._context.run(self._printed, place, self._label, text, error)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def close(self) -> None:
        """Nothing: the process's output ends with the process."""

    def _told_apart(self, data: bytes) -> bytes:
        """`data` with a space in front of each line that begins like one of others. A line can come
        in pieces: the first of `data` goes on where the last one ended."""
        first, *others = data.split(b"\n")
        reserved = RESERVED.match(self._head + first)
        if reserved and reserved.end() > len(self._head):
            first = b" " + first
        return b"\n".join([first, *(b" " + b if RESERVED.match(b) else b for b in others)])

    def _put(self, data: bytes) -> None:
        _, end, last = data.rpartition(b"\n")
        self._head = (last if end else self._head + last)[:HEAD]
        self.is_unfinished = not data.endswith(b"\n")
        sink = getattr(self._stream, "buffer", None)
        if sink is None:
            self._stream.write(data.decode(errors="replace"))
            return
        rest = memoryview(data)
        while rest:  # an unbuffered file may take less than all
            rest = rest[sink.write(rest) or len(rest) :]
        sink.flush()

    def _keep(self, piece: bytes, place: str) -> None:
        """Put together what comes in pieces: a `print` writes each value, and its end, apart."""
        author = (place, threading.get_ident(), request_id.get())
        if self._author != author:
            self.settle()
            self._context = copy_context()
        self._author = author
        self._kept += piece
        self._error = sys.exception() or self._error
        if (self._by_line and piece.endswith(b"\n")) or len(self._kept) > LARGEST:
            self.settle()


class Text(io.TextIOWrapper):
    """`sys.stdout` and `sys.stderr` for everyone: each write goes down at once, and no character
    is an error."""

    def __init__(self, output: Output, encoding: str) -> None:
        super().__init__(output, encoding, "backslashreplace", "\n", write_through=True)

    def reconfigure(self, **options: Any) -> None:
        if options.get("errors") in (None, "strict"):  # what an encoding alone would bring back
            options["errors"] = "backslashreplace"
        super().reconfigure(**options | {"write_through": True})


_lock = threading.RLock()
_patience = PATIENCE
_outputs: dict[str, Output] = {}


def take_over(printed: Printed, taken: Taken, *, by_line: bool) -> None:
    """Replace both of the process's streams by `Text`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before Python began
            continue
        stream.flush()
        _outputs[name] = output = Output(name, stream, printed, taken, by_line)
        for attribute in (name, f"__{name}__"):  # apart: either may be detached from its buffer
            setattr(sys, attribute, Text(output, getattr(stream, "encoding", None) or "utf-8"))


def keep() -> None:
    """Undo a wrapper that the bot has put around a stream, for an encoding for example: it would
    hold texts of several authors back, and bring them all under the name of the last."""
    for name, output in _outputs.items():
        stream = getattr(sys, name)
        below = (getattr(stream, "buffer", None), getattr(stream, "stream", None))
        if output in below and not isinstance(stream, Text):
            stream.flush()
            setattr(sys, name, Text(output, getattr(stream, "encoding", "utf-8")))


def hurry() -> None:
    """Wait no longer for others from now on: what is written are the process's last words."""
    global _patience
    _patience = LAST_WORDS_PATIENCE


def settle() -> None:
    """Report what libraries have written until now: a request ends."""
    with _turn():
        for output in _outputs.values():
            output.settle()


def write_line(text: str) -> None:
    """Write a line of the host's, its end included, to stdout. It always begins a line, whatever
    anyone has left unfinished on either stream. Raises OSError and ValueError."""
    if "stdout" not in _outputs:
        sys.stdout.write(text)
        return
    with _turn():
        for output in _outputs.values():
            output.begin_line()
        _outputs["stdout"]._put(text.encode())


@contextmanager
def _turn() -> Iterator[None]:
    """One thread writes at a time, unless another one is stuck while it does."""
    has_turn = _lock.acquire(timeout=_patience)
    try:
        yield
    finally:
        if has_turn:
            _lock.release()
