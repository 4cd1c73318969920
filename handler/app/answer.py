"""`query` served straight from `PoeBot.handle_query`, as server-sent events.

Headers and bytes equal those of `fastapi_poe.make_app`'s app for the same events; only the way is
shorter: no routing, no second parse of the body, no task group, no lock around each event.
"""

import asyncio
import enum
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, cast

import fastapi_poe as fp
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request

from handler.app.sse import encode

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger(__name__)

HEADERS = [
    (b"cache-control", b"no-store"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
    (b"content-type", b"text/event-stream; charset=utf-8"),
]
MODELS = (fp.QueryRequest, fp.RequestContext, fp.PartialResponse)  # that every query needs
PING_SECONDS = EventSourceResponse.DEFAULT_PING_INTERVAL


# Poe gives up at 600 s on its own clock, which runs before ours: through the network, and through
# a cold start of up to 10 s.
POE_SECONDS = 600 - 12
# Seconds before Lambda's deadline. An ending took 5 to 9 ms with the CPU of 128 MB; the rest is for
# the network, and for a bot that is slow to let go.
LAMBDA_MARGIN = 1.0
CLEAN_UP_SECONDS = 0.1  # what a cancelled bot has before its answer is ended without it
MOST_EVENTS = 10_000  # Poe's limits for one response
MOST_CHARACTERS = 100_000
NO_TEXT = len('{"text": ""}')


class Stop(enum.Enum):
    """Why an answer was cut short."""

    GONE = enum.auto()  # the client went away
    LATE = enum.auto()  # Lambda's deadline, or Poe's limit, is near


class Tally:
    """What of an answer was sent."""

    events: int = 0
    errors: int = 0
    characters: int = 0  # of text
    first_event: float = 0  # seconds, of time.perf_counter
    late: bool = False
    done: bool = False

    def count(self, event: Any) -> None:
        if not self.events:
            self.first_event = time.perf_counter()
        self.events += 1
        kind = event.event if isinstance(event, ServerSentEvent) else None
        if kind == "text" or kind == "replace_response":
            self.characters += _length(event.data)
        elif kind == "error":
            self.errors += 1
        elif kind == "done":
            self.done = True

    def warn(self) -> None:
        """Say so in the log when Poe will not have taken all of it."""
        if self.events > MOST_EVENTS or self.characters > MOST_CHARACTERS:
            logger.warning(
                "an answer had %d events and %d characters of text: Poe takes %d and %d",
                self.events,
                self.characters,
                MOST_EVENTS,
                MOST_CHARACTERS,
            )


def _length(data: Any) -> int:
    """Characters of text in `{"text": "…"}`, without parsing what has no escape in it."""
    if not isinstance(data, str):
        return 0
    if "\\" not in data:
        return max(0, len(data) - NO_TEXT)
    try:
        return len(json.loads(data)["text"])
    except (ValueError, LookupError, TypeError):
        return 0


async def answer(
    bot: fp.PoeBot, query: fp.QueryRequest, scope: Scope, receive: Receive, send: Send
) -> None:
    """Send the bot's events as one ASGI response, each in a body message of its own.

    `receive` has its body still to give, for a bot that looks at `context.http_request`. When the
    client goes away the bot is cancelled; when time runs out too, and then the answer ends as
    Poe's protocol wants it. Puts a `Tally` into `scope["state"]["poe.tally"]`, where a state is.
    """
    request = Request(scope, receive)
    await request.body()
    tally = Tally()
    scope.get("state", {})["poe.tally"] = tally
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})

    def counted(event: Any, data: bytes) -> Message:
        # Before it is sent: a cancellation while the other side is slow finds it on its way.
        tally.count(event)
        return {"type": "http.response.body", "body": data, "more_body": True}

    async def end(late: bool) -> None:
        tally.late = late
        if late and not tally.done:
            error = bot.error_event("The bot ran out of time.", allow_retry=True)
            for event in (error, bot.done_event()):
                await send(counted(event, encode(event)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    with Client(receive, send, _seconds_left(scope), partial(end, True)) as client:
        # By hand, since the bot's exceptions end the answer properly, and those of `send` do not.
        events = None
        while True:
            try:
                if events is None:
                    events = aiter(bot.handle_query(query, fp.RequestContext(http_request=request)))
                event = await anext(events)
                data = encode(event)
            except StopAsyncIteration:
                break
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                if _is_cancelled(error):
                    raise
                for event in _failure(bot, error):
                    await send(counted(event, encode(event)))
                break
            if client.stopped:  # what a bot says of its own cancellation is no part of its answer
                break
            await send(counted(event, data))
    if client.stopped is Stop.LATE:
        await (client.ending or end(late=True))
    elif not client.stopped:
        await end(late=False)
    tally.warn()


def _failure(bot: fp.PoeBot, error: BaseException) -> tuple[ServerSentEvent, ServerSentEvent]:
    """The end of an answer whose bot raised past fastapi_poe, such as `sys.exit`."""
    logger.error("the bot failed", exc_info=error)
    text = "The bot encountered an unexpected issue."
    return bot.error_event(text, raw_response=error, allow_retry=False), bot.done_event()


def _is_cancelled(error: BaseException) -> bool:
    """Whether this task was told to stop: a bot that awaits a cancelled task of its own raises
    the same error."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _seconds_left(scope: Scope) -> float:
    """For the bot: until Poe's limit or Lambda's deadline, with the margin for an ending."""
    context = scope.get("aws.context")
    if context is None:
        return POE_SECONDS
    left: float = context.get_remaining_time_in_millis() / 1000 - LAMBDA_MARGIN
    return max(0.0, min(POE_SECONDS, left))


class Client:
    """Whoever asked: kept awake by a comment every 15 s, and watched.

    When it goes away, or after `seconds`, the task that entered is cancelled, and the cancellation
    ends here, as `asyncio.timeout` ends its own.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        seconds: float,
        end_late: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.stopped: Stop | None = None
        self.ending: asyncio.Task[None] | None = None  # of an answer whose bot does not let go
        self._end_late = end_late
        self._receive, self._send, self._seconds = receive, send, seconds
        self._loop = asyncio.get_running_loop()
        self._ping: asyncio.Task[None] | None = None

    def __enter__(self) -> "Client":
        self._task = cast(asyncio.Task[Any], asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._watch = self._loop.create_task(self._until_gone())
        self._timer = self._loop.call_later(PING_SECONDS, self._start_ping)
        self._end = self._loop.call_later(self._seconds, self._stop, Stop.LATE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        self._end.cancel()
        self._watch.cancel()
        if self._ping:
            self._ping.cancel()
        if not self.stopped:
            return False
        ours = self._task.uncancel() <= self._cancelling
        if self.ending and not ours:  # the server ends the answer
            self.ending.cancel()
        return ours and kind is asyncio.CancelledError

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._stop(Stop.GONE)

    def _stop(self, why: Stop) -> None:
        if not self.stopped:
            self.stopped = why
            self._task.cancel()
            if why is Stop.LATE:
                # A bot may clean up for long, or swallow its cancellation: nobody waits for it.
                self._end = self._loop.call_later(CLEAN_UP_SECONDS, self._start_ending)

    def _start_ending(self) -> None:
        self.ending = self._loop.create_task(self._end_late())

    def _start_ping(self) -> None:
        # A task only when one is due: bots that answer within 15 s never pay for it.
        self._ping = self._loop.create_task(self._send_ping())

    async def _send_ping(self) -> None:
        data = ServerSentEvent(comment=f"ping - {datetime.now(UTC)}").encode()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._timer = self._loop.call_later(PING_SECONDS, self._start_ping)
