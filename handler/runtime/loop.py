"""The loop of a custom runtime: get the next invocation, serve it, report it.

Source: AWS, "Building a custom runtime for AWS Lambda".
"""

import logging
import os
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from handler.log import lines, output
from handler.log.metrics import Outcome, Report, Reporter
from handler.log.record import NAME, Record
from handler.runtime import wire
from handler.runtime.context import Context, set_trace_id
from handler.runtime.cycle import DEADLINE, Cycle, State
from handler.runtime.deadlines import WATCHDOG_MARGIN
from handler.runtime.report import outcome_of, report_of, report_of_refused_event
from handler.runtime.runtime_api import RuntimeAPI
from handler.runtime.watchdog import Watchdog
from handler.runtime.wire import BadEvent, Failure, Invocation, NotAFunctionURLEvent

logger = logging.getLogger(__name__)


class Exchange(NamedTuple):
    """An invocation that is served: its request, its response, and what is known of both."""

    invocation: Invocation
    cycle: Cycle
    record: Record


class Loop:
    """Serves `app` for as long as `api` has invocations, all of them on one event loop:
    sse-starlette leaves tasks behind that are bound to theirs.

    `context` holds what is the same for every invocation, `state` is the lifespan's.
    """

    def __init__(
        self, api: RuntimeAPI, app: ASGIApp, context: Context, state: dict[str, Any]
    ) -> None:
        self._api, self._app, self._context, self._state = api, app, context, state
        self._reporter = Reporter(context.function_name)
        self._watchdog = Watchdog(self._end_process)
        self._current: Exchange | None = None
        self._cold_start = True

    async def run(self) -> None:
        """Never returns. Raises `RuntimeAPIError` when the Runtime API has no more invocations."""
        self._watchdog.start()
        while True:
            invocation = await self._api.next()
            set_trace_id(invocation.trace_id)
            lines.request_id.set(invocation.request_id)
            self._reporter.write(await self._serve(invocation))
            self._cold_start = False

    async def _serve(self, invocation: Invocation) -> Report:
        try:
            exchange = self._begin(invocation)
            self._current = exchange
            self._watchdog.arm(invocation.deadline_ms / 1000 - WATCHDOG_MARGIN)
            failure = await exchange.cycle.run(self._app)
        except BadEvent as error:
            self._watchdog.disarm()
            await _delivered(self._refuse(invocation, error))
            return report_of_refused_event(self._cold_start)
        if failure:
            self._watchdog.disarm()  # the loop itself reports to Lambda
        delivered = await _delivered(self._finish(exchange, failure))
        self._watchdog.disarm()
        outcome = outcome_of(exchange.record, failure, delivered, exchange.cycle.status)
        return report_of(exchange.record, exchange.cycle, outcome)

    def _begin(self, invocation: Invocation) -> Exchange:
        """Raises `BadEvent`."""
        record = Record(self._cold_start)
        cycle = Cycle(
            wire.parse_event(invocation.event),
            self._context.of(invocation),
            {**self._state, NAME: record},
            lambda: self._api.stream(invocation),
        )
        return Exchange(invocation, cycle, record)

    async def _finish(self, exchange: Exchange, failure: Failure | None) -> bool:
        """End the response: as a whole, as a cut one, or as a failure before its first byte."""
        stream = exchange.cycle.stream
        if failure and stream is None:
            return await self._api.fail(exchange.invocation, failure)
        assert stream, "an app without a response has failed"
        if failure and exchange.cycle.state is State.RESPONSE:
            with suppress(ConnectionError):  # refused meanwhile? The answer is there all the same
                stream.fail(failure)
        return await stream.accepted()

    async def _refuse(self, invocation: Invocation, error: BadEvent) -> bool:
        if isinstance(error, NotAFunctionURLEvent):
            logger.warning("%s: answered without the bot", error)
            return await self._api.respond(invocation, _proxy_response(error))
        logger.warning("%s: refused", error)
        stream = await self._api.stream(invocation)
        stream.write(wire.encode_prelude(400, {"content-type": "application/json"}, None))
        stream.write(wire.PRELUDE_END)
        stream.write(wire.encode_reason(error))
        stream.end()
        return await stream.accepted()

    def _end_process(self) -> None:
        """In the watchdog's thread: nothing else will end this invocation before its deadline."""
        try:
            assert self._current, "armed without an invocation"
            self._give_up(self._current)
        finally:
            os._exit(1)  # no clean-up could get past a bot that blocks

    def _give_up(self, exchange: Exchange) -> None:
        invocation, cycle, record = exchange
        lines.request_id.set(invocation.request_id)
        output.hurry()
        logger.critical("the bot cannot be stopped: this process ends, another one takes over")
        try:
            if cycle.stream is None:
                self._api.fail_now(invocation, DEADLINE)
            elif cycle.state is State.RESPONSE:
                cycle.stream.fail_now(DEADLINE)
        except Exception as error:  # the loop's thread may stand anywhere, in the middle of a frame
            logger.error("the failure could not be reported to Lambda: %s", type(error).__name__)
        self._reporter.write(report_of(record, cycle, Outcome.DEADLINE))


async def _delivered(response: Awaitable[bool]) -> bool:
    """Whether the Runtime API took the whole response."""
    try:
        return await response
    except OSError as error:
        logger.error("the answer could not be delivered: %s", type(error).__name__)
        return False


def _proxy_response(error: NotAFunctionURLEvent) -> dict[str, Any]:
    """What a caller that isn't a Function URL can read."""
    return {
        "statusCode": 400,
        "headers": {"content-type": "application/json"},
        "body": wire.encode_reason(error).decode(),
    }
