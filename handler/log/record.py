"""What is known of one request: filled in by the app while it serves, reported by the loop."""

import time
from collections.abc import MutableMapping
from typing import Any

NAME = "poe.record"  # in `scope["state"]`
PAGE = "page"  # the type of a request for the page that anybody may see


class Tally:
    """What was sent of an answer."""

    __slots__ = ("characters", "done", "errors", "events", "first_event", "late")

    def __init__(self) -> None:
        self.events = 0
        self.errors = 0
        self.characters = 0  # of text
        self.first_event = 0.0  # seconds, of time.perf_counter
        self.late = False  # ended because time ran out
        self.done = False  # the event `done` was sent


class Record:
    """One request. `cold_start`: the first one of its process."""

    __slots__ = ("cold_start", "refused", "secret_read_failures", "started", "tally", "type")

    def __init__(self, cold_start: bool = False) -> None:
        self.cold_start = cold_start
        self.started = time.perf_counter()  # seconds
        self.type = "other"  # of the Poe request, once that is known; or `PAGE`
        self.tally: Tally | None = None  # once there is an answer
        self.refused = False
        self.secret_read_failures = 0


def record_of(scope: MutableMapping[str, Any]) -> Record:
    """The record in the ASGI scope. Only our own loop puts one there: under another server it is
    created here, and never reported."""
    state = scope.setdefault("state", {})
    if NAME not in state:
        state[NAME] = Record()
    record: Record = state[NAME]
    return record
