"""What a conversation looks like in a terminal, and through a pipe."""

import os
from collections.abc import Callable
from functools import partial
from typing import TextIO

from commands.terminal.sources import bot_of, with_own_names
from commands.terminal.text import continued, one_line, visible
from commands.terminal.tracebacks import folded
from poe.client.run_notes import RunNotes
from poe.client.turn import Event, Turn

_DIM, _RED, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[0m"


class Screen:
    """Prints answers to `out` as they arrive; all else is `notes`, which a pipe leaves out.

    In a terminal the bot's lines are indented: none can pass for a prompt, or for one of ours.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, raw: bool) -> None:
        self._out = out
        self._notes = notes
        self._raw = raw
        self._indent = "  " if out.isatty() else ""
        self._colours = notes.isatty() and "NO_COLOR" not in os.environ
        self._in_line = False
        self._rename: Callable[[str], str] = lambda text: text

    def run(self, notes: RunNotes) -> None:
        """Before an answer: what the `make run` around it has noted."""
        if notes.problem:
            self.failure(
                f"your last change isn't served, the bot answers as before: {notes.problem}"
            )
        if notes.folder:
            self._rename = partial(with_own_names, bot=bot_of(notes.folder, notes.file))

    def event(self, event: Event) -> None:
        """Print what Poe would show of an event at once: its text."""
        if self._raw:
            line = one_line(f"{event.seconds:8.3f} s  {event.name:<16} {event.data}")
            print(line, file=self._out, flush=True)
            return
        if event.name == "replace_response" and self._in_line:
            self._end_line()
            self._dim("(replaced by)")
        if event.name in ("text", "replace_response"):
            self._print(str((event.fields or {}).get("text", "")))

    def turn(self, turn: Turn) -> None:
        """Print what is known at the end of an answer."""
        self._end_line()
        for file in turn.files:
            self._dim(f"file: {file.get('name')} ({file.get('content_type')}) {file.get('url')}")
        for reply in turn.suggested_replies:
            self._dim(f"suggested reply: {reply}")
        if turn.error is not None:
            self.failure(turn.error)
            self._details(turn)
        for promise in turn.broken:
            self.failure(f"broken promise: {promise}")
        self._dim(summary(turn))

    def failure(self, text: str) -> None:
        self._end_line()
        self._note(f"error: {text}", _RED)

    def _details(self, turn: Turn) -> None:
        """What else the `error` event has: of a traceback, what the author needs."""
        text = turn.error_details
        if text and not self._raw:
            text = "\n".join(folded(text))
        if text:
            self._dim("  " + self._rename(text))

    def introduction(self, text: str) -> None:
        if text:
            self._dim(f"{self._indent}{text}")

    def stopped(self) -> None:
        self._end_line()
        self._dim("(stopped)")

    def _dim(self, text: str) -> None:
        self._note(text, _DIM)

    def _note(self, text: str, colour: str) -> None:
        shown = continued(text, "  ")
        line = f"{colour}{shown}{_PLAIN}" if self._colours else shown
        print(line, file=self._notes, flush=True)

    def _print(self, text: str) -> None:
        # The two halves of a CR LF may come in two events.
        for line in visible(text.replace("\r", "")).splitlines(keepends=True):
            indent = "" if self._in_line or line == "\n" else self._indent
            print(f"{indent}{line}", end="", file=self._out)
            self._in_line = not line.endswith("\n")
        self._out.flush()

    def _end_line(self) -> None:
        if self._in_line:
            self._print("\n")


def summary(turn: Turn) -> str:
    """Time to the first event, number of events and time in all, in one line."""
    count = f"{len(turn.events)} event{'' if len(turn.events) == 1 else 's'}"
    first = f"first event {turn.events[0].seconds * 1000:.0f} ms · " if turn.events else ""
    return f"{first}{count} · {turn.seconds:.2f} s"
