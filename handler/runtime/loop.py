"""One invocation after another: stream it, or report why not."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from handler.log import lines, metrics
from handler.log.metrics import Outcome
from handler.runtime import wire
from handler.runtime.cycle import App, Cycle, State
from handler.runtime.runtime_api import RuntimeAPI
from handler.runtime.watchdog import Watchdog
from handler.runtime.wire import BadEvent, Failure, Invocation, NotAFunctionURLEvent

logger = logging.getLogger(__name__)


@dataclass
class Context:
    """Lambda's context object, with AWS's names; Mangum puts it into the scope."""

    function_name: str = ""
    function_version: str = ""
    memory_limit_in_mb: int = 0
    log_group_name: str = ""
    log_stream_name: str = ""
    aws_request_id: str = ""
    invoked_function_arn: str = ""
    deadline_ms: int = 0  # since the epoch
    tenant_id: str | None = None
    identity: Any = None  # JSON, of Cognito's
    client_context: Any = None  # JSON, of the mobile SDK's

    def of(self, invocation: Invocation) -> "Context":
        return replace(
            self,
            aws_request_id=invocation.request_id,
            invoked_function_arn=invocation.function_arn,
            deadline_ms=invocation.deadline_ms,
            tenant_id=invocation.tenant_id,
            identity=_json(invocation.cognito_identity),
            client_context=_json(invocation.client_context),
        )

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self.deadline_ms - int(time.time() * 1000))


def _json(header: str | None) -> Any:
    try:
        return json.loads(header) if header else None
    except ValueError:
        return None


# Seconds before Lambda's deadline. A query ends itself 1 s before it (query.LAMBDA_MARGIN).
APP_MARGIN = 0.7  # any other request is cancelled
WATCHDOG_MARGIN = 0.4  # the process says its last word and ends, which took up to 120 ms

DEADLINE = Failure("Deadline", "the bot was not done before the function's deadline")


class Exchange(NamedTuple):
    """An invocation on its way."""

    invocation: Invocation
    cycle: Cycle
    cold_start: bool
    started: float  # seconds, of time.perf_counter


class Loop:
    """Serves `app` for as long as `api` has invocations, all of them on one event loop:
    sse-starlette leaves tasks behind that are bound to theirs.

    `context` holds what is the same for every invocation, `state` is the lifespan's.
    """

    def __init__(self, api: RuntimeAPI, app: App, context: Context, state: dict[str, Any]) -> None:
        self._api, self._app, self._context, self._state = api, app, context, state
        self._reporter = metrics.Reporter(context.function_name)
        self._watchdog = Watchdog(self._give_up)
        self._current: Exchange | None = None
        self._cold = True

    async def run(self) -> None:
        """Raises `RuntimeAPIError` when no more invocations can be had; never returns."""
        self._watchdog.start()
        while True:
            invocation = await self._api.next()
            _set_trace_id(invocation.trace_id)
            lines.request_id.set(invocation.request_id)
            await self._serve(invocation)
            self._cold = False

    async def _serve(self, invocation: Invocation) -> None:
        try:
            exchange = self._begin(invocation)
        except NotAFunctionURLEvent as error:
            logger.warning("%s: answered without the bot", error)
            await _deliver(self._api.respond(invocation, _not_for_us(error)))
            self._write(self._refused())
        except BadEvent as error:
            logger.warning("%s: refused", error)
            await _deliver(self._refuse(invocation, error))
            self._write(self._refused())
        else:
            self._current = exchange
            self._watchdog.arm(invocation.deadline_ms / 1000 - WATCHDOG_MARGIN)
            failure = await self._run(exchange.cycle)
            if failure:
                self._watchdog.disarm()  # its last word is the loop's own
            delivered = await _deliver(self._finish(exchange, failure))
            self._watchdog.disarm()
            self._report(exchange, _outcome(exchange.cycle, failure, delivered))

    def _begin(self, invocation: Invocation) -> Exchange:
        """Raises `BadEvent`."""
        started = time.perf_counter()
        cycle = Cycle(
            wire.parse_event(invocation.event),
            self._context.of(invocation),
            dict(self._state),
            lambda: self._api.stream(invocation),
        )
        return Exchange(invocation, cycle, self._cold, started)

    async def _run(self, cycle: Cycle) -> Failure | None:
        """Run the app to its end. Gives what went wrong, if anything did.

        In a task of its own, as any ASGI server does: a context variable that a bot sets, or a
        cancellation that comes when its answer is over, must not reach the next one's user.
        """
        left = cycle.scope["aws.context"].get_remaining_time_in_millis() / 1000
        task = asyncio.create_task(_ending(self._app(cycle.scope, cycle.receive, cycle.send)))
        try:
            done, _ = await asyncio.wait([task], timeout=max(0.0, left - APP_MARGIN))
            if not done:
                task.cancel()
                await asyncio.wait([task])
        finally:
            task.cancel()
        if error := task.result():
            logger.error("the ASGI app failed", exc_info=error)
            if not done:
                return DEADLINE
            kind = type(error).__name__
            return Failure(kind, f"the bot failed ({kind}): see the log", lines.stack_of(error))
        if cycle.state in (State.REQUEST, State.RESPONSE):
            logger.error("the ASGI app returned while its response was in %s", cycle.state.name)
            return Failure("IncompleteResponse", "the bot returned before its response was whole")
        return None

    async def _finish(self, exchange: Exchange, failure: Failure | None) -> bool:
        """End the answer: as a whole, as a cut one, or as a failure of which nothing was sent."""
        stream = exchange.cycle.stream
        if failure and stream is None:
            return await self._api.fail(exchange.invocation, failure)
        assert stream, "an app without a response has failed"
        if failure and exchange.cycle.state is State.RESPONSE:
            with suppress(ConnectionError):  # refused meanwhile? The answer is there all the same
                stream.fail(failure)
        return await stream.accepted()

    def _give_up(self) -> None:
        """In the watchdog's thread: nothing else will end this invocation before its deadline."""
        exchange = self._current
        assert exchange, "armed without an invocation"
        lines.request_id.set(exchange.invocation.request_id)
        logger.critical("the bot cannot be stopped: this process ends, another one takes over")
        cycle = exchange.cycle
        with suppress(OSError):
            if cycle.stream is None:
                self._api.fail_now(exchange.invocation, DEADLINE)
            elif cycle.state is State.RESPONSE:
                cycle.stream.fail_now(DEADLINE)
        self._report(exchange, Outcome.DEADLINE)
        os._exit(1)  # no clean-up could get past a bot that blocks

    async def _refuse(self, invocation: Invocation, error: BadEvent) -> bool:
        stream = await self._api.stream(invocation)
        stream.write(wire.encode_prelude(400, {"content-type": "application/json"}, None))
        stream.write(wire.PRELUDE_END)
        stream.write(wire.encode_reason(error))
        stream.end()
        return await stream.accepted()

    def _report(self, exchange: Exchange, outcome: Outcome) -> None:
        state, stream = exchange.cycle.scope["state"], exchange.cycle.stream
        tally, started = state.get("poe.tally"), exchange.started
        first = tally and tally.events and (tally.first_event - started) * 1000
        invocation = metrics.Invocation(
            outcome,
            duration=(time.perf_counter() - started) * 1000,
            first_event=first or None,
            bytes=stream.size if stream else 0,
            cold_start=exchange.cold_start,
            type=state.get("poe.type", "other"),
            events=tally.events if tally else 0,
            errors=tally.errors if tally else 0,
            is_answer=tally is not None,
            secret_read_failures=state.get("poe.secret_read_failures", 0),
        )
        self._write(invocation)

    def _refused(self) -> metrics.Invocation:
        """An event that came to no exchange."""
        return metrics.Invocation(
            Outcome.REFUSED, duration=0, first_event=None, bytes=0, cold_start=self._cold
        )

    def _write(self, invocation: metrics.Invocation) -> None:
        now = time.time()
        if fields := self._reporter.fields(invocation, now):
            lines.write("INFO", fields, now=now)


async def _deliver(answer: Awaitable[bool]) -> bool:
    """Whether the Runtime API took the whole answer."""
    try:
        return await answer
    except OSError as error:
        logger.error("the answer could not be delivered: %s", type(error).__name__)
        return False


def _outcome(cycle: Cycle, failure: Failure | None, delivered: bool) -> Outcome:
    state = cycle.scope["state"]
    tally = state.get("poe.tally")
    if not delivered:
        return Outcome.RUNTIME_ERROR
    if failure is DEADLINE or (tally and tally.late):
        return Outcome.DEADLINE
    if failure or (tally and tally.errors):
        return Outcome.BOT_ERROR
    return Outcome.REFUSED if "poe.refused" in state else Outcome.DONE


async def _ending(app: Awaitable[None]) -> BaseException | None:
    """What `app` raises. Nothing may get out of its task: a `SystemExit` would end the loop."""
    try:
        await app
    except BaseException as error:
        return error
    return None


def _not_for_us(error: NotAFunctionURLEvent) -> dict[str, Any]:
    """A proxy response: what a caller that is no Function URL can read."""
    return {
        "statusCode": 400,
        "headers": {"content-type": "application/json"},
        "body": wire.encode_reason(error).decode(),
    }


def _set_trace_id(trace_id: str | None) -> None:
    """In `os.environ`, where AWS's runtimes put it and the X-Ray SDK looks.

    In its dictionary alone: libc's setenv keeps every value that it ever got, which made an
    environment grow by 0.6 kB with each invocation.
    """
    environ: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    if trace_id:
        environ[b"_X_AMZN_TRACE_ID"] = os.fsencode(trace_id)
    else:
        environ.pop(b"_X_AMZN_TRACE_ID", None)
