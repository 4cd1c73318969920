"""What keeps an answer alive, and what ends it before the bot does.

A comment every 15 s keeps the connection open. An answer ends early when its client goes away,
or when time runs out.
"""

import asyncio
import enum
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, cast

from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.types import Receive, Send

from handler.runtime.deadlines import CLEAN_UP

PING_SECONDS = EventSourceResponse.DEFAULT_PING_INTERVAL


class Stop(enum.Enum):
    """Why an answer was cut short."""

    GONE = enum.auto()  # the client went away
    LATE = enum.auto()  # Lambda's deadline, or Poe's limit, is near


class Lifeline:
    """Around the task that answers: cancels it when the client goes away, or after `seconds`. The
    cancellation ends at the end of the block, as `asyncio.timeout` ends its own; `stopped` then
    has the reason.

    `receive` tells when the client goes away; None where that is never known. `end_late` ends an
    answer that ran out of time; a task calls it where the bot does not let go.
    """

    def __init__(
        self,
        receive: Receive | None,
        send: Send,
        seconds: float,
        end_late: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.stopped: Stop | None = None
        self._receive, self._send = receive, send
        self._end_late = end_late
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + seconds
        self._timer: asyncio.TimerHandle  # of the next ping, or of the end
        self._watch: asyncio.Task[None] | None = None
        self._ping: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = cast(asyncio.Task[Any], asyncio.current_task())
        self._cancelling = self._task.cancelling()
        if self._receive:
            self._watch = self._loop.create_task(self._until_gone(self._receive))
        self._wait_for_ping()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._timer.cancel()
        for task in (self._watch, self._ping):
            if task:
                task.cancel()
        if not self.stopped:
            return False
        ours = self._task.uncancel() <= self._cancelling
        if self._ending and not ours:  # the server ends the answer
            self._ending.cancel()
        return ours and kind is asyncio.CancelledError

    async def end_late(self) -> None:
        """After the block: end an answer that ran out of time, unless a task has begun to."""
        await (self._ending or self._end_late())

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._stop(Stop.GONE)

    def _stop(self, why: Stop) -> None:
        if self.stopped:
            return
        self.stopped = why
        self._task.cancel()
        if why is Stop.LATE:
            # The answer doesn't wait for a bot that cleans up for long, or swallows this.
            self._timer.cancel()
            self._timer = self._loop.call_later(CLEAN_UP, self._start_ending)

    def _start_ending(self) -> None:
        self._ending = self._loop.create_task(self._end_late())

    def _wait_for_ping(self) -> None:
        # One timer for both: the more of them wait, the longer every other one takes to set.
        ping_at = self._loop.time() + PING_SECONDS
        if ping_at < self._ends_at:
            self._timer = self._loop.call_at(ping_at, self._start_ping)
        else:
            self._wait_for_end()

    def _wait_for_end(self) -> None:
        self._timer = self._loop.call_at(self._ends_at, self._stop, Stop.LATE)

    def _start_ping(self) -> None:
        # A task only when one is due: bots that answer within 15 s never pay for it. Meanwhile
        # the end may come: a client may be too slow to take it.
        self._ping = self._loop.create_task(self._send_ping())
        self._wait_for_end()

    async def _send_ping(self) -> None:
        if self.stopped:  # nothing more belongs to this answer
            return
        data = ServerSentEvent(comment=f"ping - {datetime.now(UTC)}").encode()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        if not self.stopped:
            self._timer.cancel()
            self._wait_for_ping()
