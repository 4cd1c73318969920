"""`query` served straight from `PoeBot.handle_query`, as server-sent events.

Headers and bytes equal those of `fastapi_poe.make_app`'s app for the same events; only the way is
shorter: no routing, no second parse of the body, no task group, no lock around each event.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, cast

import fastapi_poe as fp
from sse_starlette.event import ServerSentEvent, ensure_bytes
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEADERS = [
    (b"cache-control", b"no-store"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
    (b"content-type", b"text/event-stream; charset=utf-8"),
]
SEPARATOR = EventSourceResponse.DEFAULT_SEPARATOR
PING_SECONDS = EventSourceResponse.DEFAULT_PING_INTERVAL


async def answer(
    bot: fp.PoeBot, query: fp.QueryRequest, scope: Scope, receive: Receive, send: Send
) -> None:
    """Send the bot's events as one ASGI response, each in a body message of its own.

    `receive` has its body still to give, for a bot that looks at `context.http_request`. When the
    client goes away the bot is cancelled. Counts into `scope["state"]["query"]`, where a state is:
    `events`, `errors`, and the clock of the first event in seconds (`time.perf_counter`).
    """
    request = Request(scope, receive)
    await request.body()
    counts = {"events": 0, "errors": 0, "first_event": 0.0}
    scope.get("state", {})["query"] = counts
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    events = bot.handle_query(query, fp.RequestContext(http_request=request))
    with Client(receive, send) as client:
        try:
            async for event in events:
                data = ensure_bytes(event, SEPARATOR)
                await send({"type": "http.response.body", "body": data, "more_body": True})
                _count(counts, event)
                if client.gone:  # a bot that swallowed its cancellation is not asked again
                    break
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
    if not client.gone:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _count(counts: dict[str, float], event: Any) -> None:
    if not counts["events"]:
        counts["first_event"] = time.perf_counter()
    counts["events"] += 1
    counts["errors"] += isinstance(event, ServerSentEvent) and event.event == "error"


class Client:
    """Whoever asked: kept awake by a comment every 15 s, and watched.

    When it goes away the task that entered is cancelled, and the cancellation ends here, as
    `asyncio.timeout` ends its own.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.gone = False
        self._receive, self._send = receive, send
        self._loop = asyncio.get_running_loop()
        self._ping: asyncio.Task[None] | None = None

    def __enter__(self) -> "Client":
        self._task = cast(asyncio.Task[Any], asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._watch = self._loop.create_task(self._until_gone())
        self._timer = self._loop.call_later(PING_SECONDS, self._start_ping)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        self._watch.cancel()
        if self._ping:
            self._ping.cancel()
        if not self.gone:
            return False
        ours = self._task.uncancel() <= self._cancelling
        return ours and kind is asyncio.CancelledError

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()

    def _start_ping(self) -> None:
        # A task only when one is due: bots that answer within 15 s never pay for it.
        self._ping = self._loop.create_task(self._send_ping())

    async def _send_ping(self) -> None:
        data = ServerSentEvent(comment=f"ping - {datetime.now(UTC)}").encode()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._timer = self._loop.call_later(PING_SECONDS, self._start_ping)
