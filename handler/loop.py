"""One invocation after another: stream it, or report why not."""

import logging
import os
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Any

from handler import log, wire
from handler.report import Outcome, Refusals, Report
from handler.runtime_api import RuntimeAPI
from handler.streaming import App, Cycle, State
from handler.wire import BadEvent, Failure, Invocation, NotAFunctionURLEvent

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
    identity: Any = None
    client_context: Any = None

    def of(self, invocation: Invocation) -> "Context":
        return replace(
            self,
            aws_request_id=invocation.request_id,
            invoked_function_arn=invocation.function_arn,
            deadline_ms=invocation.deadline_ms,
        )

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self.deadline_ms - int(time.time() * 1000))


@dataclass
class Loop:
    """Serves `app` for as long as `api` has invocations, all of them on one event loop:
    sse-starlette leaves tasks behind that are bound to theirs."""

    api: RuntimeAPI
    app: App
    context: Context
    state: dict[str, Any]  # the lifespan's; each request gets a copy
    _cold: bool = field(default=True, init=False)
    _refusals: Refusals = field(default_factory=Refusals, init=False)

    async def run(self) -> None:
        """Raises `RuntimeAPIError` when no more invocations can be had; never returns."""
        while True:
            invocation = await self.api.next()
            _set_trace_id(invocation.trace_id)
            log.request_id.set(invocation.request_id)
            await self._serve(invocation)
            self._cold = False

    async def _serve(self, invocation: Invocation) -> None:
        started = time.perf_counter()
        try:
            event = wire.parse_event(invocation.event)
            cycle = Cycle(
                event,
                self.context.of(invocation),
                dict(self.state),
                lambda: self.api.stream(invocation),
            )
            failure = await self._run(cycle)
            delivered = await _deliver(self._finish(invocation, cycle, failure))
            self._report(cycle, _outcome(cycle, failure, delivered), started)
        except NotAFunctionURLEvent as error:
            logger.warning("%s: answered without the bot", error)
            await _deliver(self.api.respond(invocation, _not_for_us(error)))
        except BadEvent as error:
            logger.warning("%s: refused", error)
            await _deliver(self._refuse(invocation, error))

    async def _run(self, cycle: Cycle) -> Failure | None:
        """Run the app to its end. Gives what went wrong, if anything did."""
        try:
            await self.app(cycle.scope, cycle.receive, cycle.send)
        except (Exception, SystemExit) as error:
            logger.error("the ASGI app failed", exc_info=error)
            kind = type(error).__name__
            return Failure(kind, f"the bot failed ({kind}): see the log", log.stack_of(error))
        if cycle.state in (State.REQUEST, State.RESPONSE):
            logger.error("the ASGI app returned while its response was in %s", cycle.state.name)
            return Failure("IncompleteResponse", "the bot returned before its response was whole")
        return None

    async def _finish(self, invocation: Invocation, cycle: Cycle, failure: Failure | None) -> None:
        """End the answer: as a whole, as a cut one, or as a failure of which nothing was sent."""
        if cycle.stream is None:
            await self.api.fail(invocation, failure or Failure("NoResponse", "there is no answer"))
            return
        if failure and cycle.state is State.RESPONSE:
            cycle.stream.fail(failure)
        await cycle.stream.accepted()

    async def _refuse(self, invocation: Invocation, error: BadEvent) -> None:
        stream = await self.api.stream(invocation)
        await stream.write(wire.encode_prelude(400, {"content-type": "application/json"}, None))
        await stream.write(wire.PRELUDE_END)
        await stream.write(wire.encode_reason(error))
        stream.end()
        await stream.accepted()

    def _report(self, cycle: Cycle, outcome: Outcome, started: float) -> None:
        now, state = time.time(), cycle.scope["state"]
        query = state.get("query", {})
        if outcome is Outcome.REFUSED:
            self._refusals.count()
            if not self._refusals.due(now):
                return
        metrics: dict[str, float] = {}
        if query:
            metrics["Answers"] = 1
        if query.get("events"):
            metrics["FirstEventTime"] = round((query["first_event"] - started) * 1000, 1)
        if outcome is Outcome.BOT_ERROR:
            metrics["BotErrors"] = max(query.get("errors", 0), 1)
        if refused := self._refusals.take(now):
            metrics["Refused"] = refused
        report = Report(
            self.context.function_name,
            state.get("type", "other"),
            outcome,
            self._cold,
            (time.perf_counter() - started) * 1000,
            query.get("events", 0),
            cycle.stream.size if cycle.stream else 0,
            metrics,
        )
        log.write("INFO", report.fields(now), now=now)


async def _deliver(answer: Awaitable[None]) -> bool:
    """Whether the Runtime API could be reached for the whole answer."""
    try:
        await answer
    except OSError as error:
        logger.error("the answer could not be delivered: %s", type(error).__name__)
        return False
    return True


def _outcome(cycle: Cycle, failure: Failure | None, delivered: bool) -> Outcome:
    state = cycle.scope["state"]
    if not delivered:
        return Outcome.RUNTIME_ERROR
    if failure or state.get("query", {}).get("errors"):
        return Outcome.BOT_ERROR
    return Outcome.REFUSED if "refused" in state else Outcome.DONE


def _not_for_us(error: NotAFunctionURLEvent) -> dict[str, Any]:
    """A proxy response: what a caller that is no Function URL can read."""
    return {
        "statusCode": 400,
        "headers": {"content-type": "application/json"},
        "body": wire.encode_reason(error).decode(),
    }


def _set_trace_id(trace_id: str | None) -> None:
    # AWS's runtimes tell the X-Ray SDK so.
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
