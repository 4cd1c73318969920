"""A bot's answer as Poe reads it: the text that Poe shows, and the promises that the bot keeps.

Limits and rules are those of Poe's protocol specification, version 1.2
(creator.poe.com/docs/poe-protocol-specification). Pure: events in, a record out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EVENT_NAMES = frozenset(
    ("meta", "text", "replace_response", "suggested_reply", "file", "data", "json", "error")
)
# Not part of the protocol; Poe's client passes over it.
PING = "ping"
DONE = "done"
STREAM_TYPE = "text/event-stream"
DEFAULT_ERROR = "The bot ran into a problem and gave no details."


def well_formed(text: str) -> str:
    """`text` as UTF-8 can carry it: the halves of a surrogate pair, which may have come in two
    events, are joined, and one without the other is replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True)
class Limits:
    """Poe's limits on one answer; times in seconds from the request."""

    first_response_seconds: float = 5
    total_seconds: float = 600
    characters: int = 100_000
    events: int = 10_000


POE_LIMITS = Limits()


@dataclass(frozen=True)
class Event:
    """One event as it arrived: its name and data as on the wire, seconds after the request."""

    name: str
    data: str
    seconds: float

    @property
    def fields(self) -> dict[str, Any] | None:
        """The data as a JSON object; None if it isn't one."""
        try:
            parsed = json.loads(self.data)
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, dict) else None


@dataclass(frozen=True)
class Turn:
    """One answer, complete.

    text       what Poe shows: the texts in a row, after the last `replace_response`
    files      the `file` events' fields: url, content_type, name, inline_ref
    metadata   of the last `data` event, which comes back with the message in later queries
    error      the first `error` event's text
    error_details  what else that event has, as `raw_response`
    broken     each promise of the protocol that the answer broke, in words
    head_seconds            when status and headers came, if they came
    first_response_seconds  when the first byte after them came, if one came
    """

    events: tuple[Event, ...]
    text: str
    suggested_replies: tuple[str, ...]
    files: tuple[Mapping[str, Any], ...]
    metadata: str | None
    content_type: str
    error: str | None
    error_details: str
    broken: tuple[str, ...]
    head_seconds: float | None
    first_response_seconds: float | None
    seconds: float

    @property
    def failed(self) -> bool:
        return self.error is not None or bool(self.broken)


@dataclass
class TurnBuilder:
    """Gathers the events of one answer and notes what they break; `finish` gives the record."""

    limits: Limits = POE_LIMITS
    events: list[Event] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    head_seconds: float | None = None
    first_response_seconds: float | None = None
    _texts: list[str] = field(default_factory=list)
    _characters: int = 0
    _replies: list[str] = field(default_factory=list)
    _files: list[Mapping[str, Any]] = field(default_factory=list)
    _metadata: str | None = None
    _content_type: str = "text/markdown"
    _error: str | None = None
    _error_details: str = ""

    @property
    def done(self) -> bool:
        return bool(self.events) and self.events[-1].name == DONE

    def check_content_type(self, value: str) -> None:
        """Note an answer that isn't an event stream, such as a raw proxy response."""
        if value.partition(";")[0].strip().lower() != STREAM_TYPE:
            self.broken.append(f"the answer is {value or 'of no type'}, not {STREAM_TYPE}")

    def take(self, event: Event) -> bool:
        """Add one event. False if Poe would read no further."""
        if self.done:
            self.broken.append(f"`{event.name}` came after `done`, which is the last event")
            return False
        self.events.append(event)
        if len(self.events) > self.limits.events:
            self.broken.append(f"more than {self.limits.events:,} events")
            return False
        if event.name not in (DONE, PING):
            self._use(event)
        if self._characters > self.limits.characters:
            self.broken.append(
                f"more than {self.limits.characters:,} characters of text, with what was replaced"
            )
            return False
        return True

    def _use(self, event: Event) -> None:
        if event.name not in EVENT_NAMES:
            self.broken.append(f"`{event.name}` isn't an event that Poe knows")
        elif (fields := event.fields) is None:
            self.broken.append(f"the data of `{event.name}` isn't a JSON object")
        elif event.name == "meta":
            self._use_meta(fields)
        elif event.name == "error":
            self._use_error(fields)
        elif event.name == "file":
            self._files.append(fields)
        elif event.name == "data":
            self._metadata = fields.get("metadata")
        elif event.name != "json":
            self._use_text(event.name, fields.get("text"))

    def _use_error(self, fields: Mapping[str, Any]) -> None:
        if self._error is None:
            self._error = str(fields.get("text") or DEFAULT_ERROR)
            self._error_details = str(fields.get("raw_response") or "")

    def _use_meta(self, fields: Mapping[str, Any]) -> None:
        if len(self.events) > 1:
            self.broken.append(
                f"`meta` came as event {len(self.events)}: Poe takes it only as the first"
            )
        else:
            self._content_type = str(fields.get("content_type", self._content_type))

    def _use_text(self, name: str, text: object) -> None:
        if not isinstance(text, str):
            self.broken.append(f"`{name}` has no text")
            return
        if name == "suggested_reply":
            self._replies.append(text)
            return
        if name == "replace_response":
            self._texts.clear()
        self._texts.append(text)
        self._characters += len(text)

    def finish(self, seconds: float, *, interrupted: bool = False) -> Turn:
        """The record; an answer that was `interrupted` by its reader breaks nothing by its end."""
        # Whatever was cut short for another reason has no `done` either.
        if not self.broken and not interrupted:
            self._check_end()
        return Turn(
            events=tuple(self.events),
            text=well_formed("".join(self._texts)),
            suggested_replies=tuple(map(well_formed, self._replies)),
            files=tuple(self._files),
            metadata=self._metadata,
            content_type=self._content_type,
            error=None if self._error is None else well_formed(self._error),
            error_details=well_formed(self._error_details),
            broken=tuple(self.broken),
            head_seconds=self.head_seconds,
            first_response_seconds=self.first_response_seconds,
            seconds=seconds,
        )

    def _check_end(self) -> None:
        if not self.done:
            self.broken.append("`done` never came")
        if not self._texts and self._error is None:
            self.broken.append("neither `text` nor `error` in the answer")
