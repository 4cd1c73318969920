"""One answer of a server bot, read as Poe reads it: piece by piece, within Poe's limits."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing

import httpx

from poe.client.sse import EventReader
from poe.client.turn import Event, Limits, Turn, TurnBuilder

Clock = Callable[[], float]

_AFTER_DONE_SECONDS = 1.0


class Answer:
    """One answer as it arrives: iterate over its events once; then `turn` is the whole of it.

    `send` makes the request and gives the response with its body still to come; what it raises,
    the iteration raises. `finished` gets the turn. Poe's limits end it, and stand in
    `turn.broken`. A cancelled iteration ends the request, and `turn` holds what came until then.
    """

    turn: Turn

    def __init__(
        self,
        send: Callable[[], Awaitable[httpx.Response]],
        limits: Limits,
        finished: Callable[[Turn], object],
    ) -> None:
        self._send = send
        self._limits = limits
        self._finished = finished
        self._builder = TurnBuilder(limits)

    async def __aiter__(self) -> AsyncIterator[Event]:
        clock = asyncio.get_running_loop().time
        started = clock()
        interrupted = True
        try:
            async with aclosing(self._events(clock, started)) as events:
                async for event in events:
                    yield event
            interrupted = False
        finally:
            self.turn = self._builder.finish(clock() - started, interrupted=interrupted)
            self._finished(self.turn)

    async def _events(self, clock: Clock, started: float) -> AsyncGenerator[Event, None]:
        reader = EventReader()
        try:
            async with aclosing(self._chunks(clock, started)) as chunks:
                async for chunk in chunks:
                    for name, data in reader.feed(chunk):
                        event = Event(name, data, clock() - started)
                        if not self._builder.take(event):
                            return
                        yield event
        except httpx.TransportError:
            self._builder.broken.append("the connection broke before the answer's end")
        except httpx.DecodingError:
            self._builder.broken.append("the answer can't be decompressed")

    async def _chunks(self, clock: Clock, started: float) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, until its end or Poe's time limit, which is recorded."""
        builder, limits = self._builder, self._limits
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(started + limits.first_response_seconds):
                    response = await self._send()
                    builder.head_seconds = clock() - started
                    stack.push_async_callback(response.aclose)
                    chunks = response.aiter_bytes()
                    chunk = await anext(chunks, b"")
            except TimeoutError:
                builder.broken.append(f"no answer within {limits.first_response_seconds:g} s")
                return
            builder.first_response_seconds = clock() - started
            builder.check_content_type(response.headers.get("content-type", ""))
            deadline = started + limits.total_seconds
            try:
                while chunk:
                    yield chunk
                    if builder.done:
                        deadline = min(deadline, clock() + _AFTER_DONE_SECONDS)
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(chunks, b"")
            except TimeoutError:
                if not builder.done:
                    builder.broken.append(f"not complete within {limits.total_seconds:g} s")
