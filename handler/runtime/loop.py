"""The loop of a custom runtime: get the next invocation, serve it, report it; several at once where
Lambda wants that.

Source: AWS, "Building a custom runtime for AWS Lambda". For several at once
(`AWS_LAMBDA_MAX_CONCURRENCY`): AWS's runtime interface emulator, lambda-managed-instances.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from handler.log import lines
from handler.log.metrics import Report, Reporter
from handler.log.record import NAME, Record
from handler.runtime import last_words, wire
from handler.runtime.context import Context, set_trace_id
from handler.runtime.cycle import DEADLINE, Cycle, State
from handler.runtime.deadlines import BLOCK_LIMIT, DELIVERY, WATCHDOG_MARGIN
from handler.runtime.report import outcome_of, report_of, report_of_refused_event
from handler.runtime.runtime_api import RuntimeAPI
from handler.runtime.watchdog import Watchdog
from handler.runtime.wire import BadEvent, Failure, Invocation, NotAFunctionURLEvent

logger = logging.getLogger(__name__)

MOST_LEFT_BEHIND = 8  # apps that don't let go, before the process is replaced


class Exchange(NamedTuple):
    """An invocation that is served: its request, its response, and what is known of both."""

    api: RuntimeAPI
    invocation: Invocation
    cycle: Cycle
    record: Record


class Loop:
    """Serves `app` for as long as `api` has invocations, up to `concurrency` at once, all of them
    on one event loop: sse-starlette leaves tasks behind that are bound to theirs.

    `context` holds what is the same for every invocation, `state` is the lifespan's.

    Each of the `concurrency` slots is a task with a client of the Runtime API of its own. So what
    one invocation does to its task, its connection and its context variables reaches no other.
    """

    def __init__(
        self,
        api: RuntimeAPI,
        app: ASGIApp,
        context: Context,
        state: dict[str, Any],
        concurrency: int = 1,
        block_limit: float = BLOCK_LIMIT,
    ) -> None:
        self._apis = [api, *(api.another() for _ in range(concurrency - 1))]
        self._app, self._context, self._state = app, context, state
        self._block_limit = block_limit
        self._reporter = Reporter(context.function_name)
        self._watchdog = Watchdog(self._end_process)
        self._last_words = threading.Lock()
        self._running: dict[str, Exchange] = {}  # by request id
        self._asking: set[RuntimeAPI] = set()  # of slots that wait for an invocation
        self._left_behind: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._cold_start = True

    async def run(self) -> None:
        """Returns when the process has to be replaced, and nothing is served any more. Raises
        `RuntimeAPIError` where that is because the Runtime API has no more invocations."""
        self._watchdog.start()
        slots = {asyncio.create_task(self._slot(api)): api for api in self._apis}
        for slot in slots:
            asyncio._unregister_task(slot)  # a bot may cancel `asyncio.all_tasks()`
        with self._block_watch():
            try:
                await asyncio.wait(slots, return_when=asyncio.FIRST_COMPLETED)
                self._ending = True
                await self._drain(slots)
            finally:
                self._ending = True
                for slot in slots:
                    slot.cancel()
                await asyncio.wait(slots)
        for slot in slots:
            if not slot.cancelled():
                slot.result()

    def _block_watch(self) -> AbstractContextManager[object]:
        """Where a bot that blocks the loop stalls others."""
        if len(self._apis) == 1:
            return nullcontext()
        from handler.runtime.blocks import BlockWatch

        return BlockWatch(asyncio.get_running_loop(), self._block_limit, self._end_blocked)

    async def _drain(self, slots: Mapping[asyncio.Task[None], RuntimeAPI]) -> None:
        """Let the answers that are under way come to their ends.

        Slots that wait for an invocation go on waiting meanwhile, and serve one more. For nothing
        tells the Runtime API that a runtime takes no more: AWS's emulator, at least, still hands
        invocations to `next` calls whose connections are closed, and each is lost. So these are
        closed when nothing else is left to do, just before the process ends. An invocation that
        Lambda hands out in that moment is lost, and its caller gets AWS's 502.
        """
        while open_slots := {slot: api for slot, api in slots.items() if not slot.done()}:
            all_ask = self._asking.issuperset(open_slots.values())
            if all_ask and not any(api.receives for api in open_slots.values()):
                for slot, api in open_slots.items():
                    if api.withdraw():
                        slot.cancel()
            done, _ = await asyncio.wait(
                open_slots,
                timeout=DELIVERY if all_ask else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done and self._asking.issuperset(open_slots.values()):
                return  # an invocation that never comes whole

    async def _slot(self, api: RuntimeAPI) -> None:
        while not self._ending:
            # No name for the invocation here: its event may be large, and an answer long.
            self._reporter.write(await self._serve(api, await self._next(api)))

    async def _next(self, api: RuntimeAPI) -> Invocation:
        self._asking.add(api)
        try:
            invocation = await api.next()
        finally:
            self._asking.discard(api)
        if len(self._apis) == 1:  # it is the process's
            set_trace_id(invocation.trace_id)
        lines.request_id.set(invocation.request_id)
        return invocation

    async def _serve(self, api: RuntimeAPI, invocation: Invocation) -> Report:
        cold_start, self._cold_start = self._cold_start, False
        name, deadline = invocation.request_id, invocation.deadline_ms / 1000
        try:
            exchange = self._begin(api, invocation, cold_start)
            invocation = exchange.invocation  # without its event
            self._running[name] = exchange
            self._watchdog.arm(name, deadline - WATCHDOG_MARGIN)
            failure = await exchange.cycle.run(self._app, hidden=len(self._apis) > 1)
        except BadEvent as error:
            self._ended(name)
            await _delivered(self._refuse(api, invocation, error), deadline)
            return report_of_refused_event(cold_start)
        if failure or len(self._apis) > 1:
            # The loop itself reports to Lambda; and no other answer ends because of a connection.
            self._watchdog.disarm(name)
        if exchange.cycle.left_behind:
            self._leave_behind(exchange.cycle.left_behind)
        delivered = await _delivered(self._finish(exchange, failure), deadline)
        self._ended(name)
        outcome = outcome_of(exchange.record, failure, delivered, exchange.cycle.status)
        return report_of(exchange.record, exchange.cycle, outcome)

    def _begin(self, api: RuntimeAPI, invocation: Invocation, cold_start: bool) -> Exchange:
        """Raises `BadEvent`."""
        record = Record(cold_start)
        event, invocation = invocation.event, invocation._replace(event=b"")
        cycle = Cycle(
            wire.parse_event(event),
            self._context.of(invocation),
            {**self._state, NAME: record},
            lambda: api.stream(invocation),
        )
        return Exchange(api, invocation, cycle, record)

    def _ended(self, name: str) -> None:
        self._watchdog.disarm(name)
        self._running.pop(name, None)

    def _leave_behind(self, app: asyncio.Task[Any]) -> None:
        """Serve on without it, unless there are too many of its kind."""
        logger.error("the bot does not stop when it is cancelled: its task is left behind")
        self._left_behind.add(app)
        app.add_done_callback(self._left_behind.discard)
        if not self._ending and len(self._left_behind) >= min(MOST_LEFT_BEHIND, len(self._apis)):
            logger.critical("too much is left behind: this process ends, another one takes over")
            self._ending = True

    async def _finish(self, exchange: Exchange, failure: Failure | None) -> bool:
        """End the response: as a whole, as a cut one, or as a failure before its first byte."""
        came_to, stream = exchange.cycle.close(), exchange.cycle.stream
        if failure and stream is None:
            return await exchange.api.fail(exchange.invocation, failure)
        assert stream, "an app without a response has failed"
        if failure and came_to is State.RESPONSE:
            with suppress(ConnectionError):  # refused meanwhile? The answer is there all the same
                stream.fail(failure)
        return await stream.accepted()

    async def _refuse(self, api: RuntimeAPI, invocation: Invocation, error: BadEvent) -> bool:
        if isinstance(error, NotAFunctionURLEvent):
            logger.warning("%s: answered without the bot", error)
            return await api.respond(invocation, _proxy_response(error))
        logger.warning("%s: refused", error)
        stream = await api.stream(invocation)
        stream.write(wire.encode_prelude(400, {"content-type": "application/json"}, None))
        stream.write(wire.PRELUDE_END)
        stream.write(wire.encode_reason(error))
        stream.end()
        return await stream.accepted()

    def _end_blocked(self) -> None:
        """In the thread that watches for blocks: the other answers have waited for long enough."""
        why = f"the bot has blocked the event loop for {self._block_limit:g} s"
        self._end_process(last_words.BLOCKED, why)

    def _end_process(
        self, failure: Failure = DEADLINE, why: str = "the bot cannot be stopped"
    ) -> None:
        """In a thread that watches the loop. By default nothing else would end an invocation before
        its deadline."""
        with self._last_words:  # both threads may have come to it
            try:
                last_words.give_up([*self._running.values()], self._reporter, failure, why)
            finally:
                os._exit(1)  # no clean-up could get past a bot that blocks


async def _delivered(response: Awaitable[bool], deadline: float) -> bool:
    """Whether the Runtime API took the whole response, at the latest a moment after `deadline`."""
    try:
        async with asyncio.timeout(max(0, deadline - time.time()) + DELIVERY):
            return await response
    except OSError as error:  # TimeoutError too
        logger.error("the answer could not be delivered: %s", type(error).__name__)
        return False


def _proxy_response(error: NotAFunctionURLEvent) -> dict[str, Any]:
    """What a caller that isn't a Function URL can read."""
    return {
        "statusCode": 400,
        "headers": {"content-type": "application/json"},
        "body": wire.encode_reason(error).decode(),
    }
