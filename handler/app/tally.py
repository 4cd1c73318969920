"""Counting an answer's events as they leave, for the log."""

import json
import logging
import time
from typing import Any

from sse_starlette.event import ServerSentEvent

from handler.log.record import Tally

logger = logging.getLogger(__name__)

MOST_EVENTS = 10_000  # Poe's limits for one response
MOST_CHARACTERS = 100_000
NO_TEXT = len('{"text": ""}')


def count(tally: Tally, event: Any) -> None:
    """`event` is whatever a bot's `handle_query` yields."""
    if not tally.events:
        tally.first_event = time.perf_counter()
    tally.events += 1
    if not isinstance(event, ServerSentEvent):
        return
    kind, data = event.event, event.data
    if kind == "text" or kind == "replace_response":
        if type(data) is str and len(data) > NO_TEXT and "\\" not in data:
            tally.characters += len(data) - NO_TEXT  # without an escape it needs no parsing
        else:
            tally.characters += _length(data)
    elif kind == "error":
        tally.errors += 1
    elif kind == "done":
        tally.done = True


def _length(data: Any) -> int:
    """Characters of text in the JSON object `data`."""
    try:
        return len(json.loads(data)["text"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0


def warn_of_limits(tally: Tally) -> None:
    """Log a warning when Poe will not have taken all of the answer."""
    if tally.events > MOST_EVENTS or tally.characters > MOST_CHARACTERS:
        logger.warning(
            "an answer had %d events and %d characters of text: Poe takes %d and %d",
            tally.events,
            tally.characters,
            MOST_EVENTS,
            MOST_CHARACTERS,
        )
