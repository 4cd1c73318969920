"""Server-sent events as bytes, both ways (WHATWG HTML, 9.2.5 and 9.2.6)."""

import codecs
import json
import re
from collections.abc import Mapping
from typing import Any

_LINE_END = re.compile(r"\r\n|\r|\n")


def encode_event(name: str, data: Mapping[str, Any]) -> bytes:
    """One event with a JSON object as its data, as a bot on Poe sends it."""
    return f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode()


class EventReader:
    """Events out of bytes that may be split anywhere; comment lines yield nothing."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._after_cr = False
        self._rest = ""
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[tuple[str, str]]:
        """The events that `chunk` completes, each as (name, data)."""
        lines = self._complete_lines(self._decoder.decode(chunk))
        return [event for line in lines if (event := self._take(line)) is not None]

    def _complete_lines(self, text: str) -> list[str]:
        if not text:
            return []
        # The second half of a CR LF that was split between two chunks ends no further line.
        if self._after_cr:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        return lines

    def _take(self, line: str) -> tuple[str, str] | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        return None

    def _dispatch(self) -> tuple[str, str] | None:
        event = (self._name or "message", "\n".join(self._data))
        complete = bool(self._name or self._data)
        self._name, self._data = "", []
        return event if complete else None
